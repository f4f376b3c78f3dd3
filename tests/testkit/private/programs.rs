//! Where a server's programs are: installed on this machine, or in the tree of another Debian release, which
//! `scripts/services.sh run` names for `RABBITMQ_RELEASE` and `POSTGRES_RELEASE`.

use anyhow::{Context, Result};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// Runs a command inside a tree.
const ENTER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../scripts/in_release.sh");
/// Inside a tree this machine's own search path means nothing.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The file tree that a server's programs come from, and the machine that they run on.
#[derive(Clone, Debug, Default)]
pub(super) struct Tree {
    /// Another release's; without one, this machine's.
    root: Option<PathBuf>,
    /// A network namespace; without one, this machine's network.
    machine: Option<PathBuf>,
}

impl Tree {
    /// The one that a variable names; without it, this machine's.
    pub(super) fn named(variable: &str) -> Self {
        Self { root: std::env::var_os(variable).map(PathBuf::from), machine: None }
    }

    /// The same programs in a network namespace.
    pub(super) fn on_machine(self, namespace: &Path) -> Self {
        Self { machine: Some(namespace.to_owned()), ..self }
    }

    /// The folders whose parent is given, as they are named inside the tree; none if it has no such parent.
    pub(super) fn folders(&self, parent: &str) -> Vec<PathBuf> {
        let Ok(entries) = std::fs::read_dir(self.outside(Path::new(parent))) else { return Vec::new() };
        entries.flatten().map(|entry| Path::new(parent).join(entry.file_name())).collect()
    }

    /// Whether a folder has these programs.
    pub(super) fn has(&self, folder: &Path, programs: &[&str]) -> bool {
        let folder = self.outside(folder);
        programs.iter().all(|program| folder.join(program).is_file())
    }

    /// The search path for programs.
    pub(super) fn search_path(&self) -> OsString {
        if self.root.is_some() { PATH.into() } else { std::env::var_os("PATH").unwrap_or_default() }
    }

    /// What stands before a command, so that it runs there and sees a folder of this machine.
    pub(super) fn enter(&self, folder: &Path) -> Vec<OsString> {
        let mut words = Vec::new();
        if let Some(namespace) = &self.machine {
            let mut option = OsString::from("--net=");
            option.push(namespace);
            words.extend(["nsenter".into(), option, "--".into()]);
        }
        if let Some(root) = &self.root {
            words.extend([ENTER.into(), root.into(), folder.into()]);
        }
        words
    }

    fn outside(&self, path: &Path) -> PathBuf {
        match &self.root {
            Some(tree) => tree.join(path.strip_prefix("/").unwrap_or(path)),
            None => path.to_owned(),
        }
    }
}

/// A program of this machine, or what to run to have it.
pub(super) fn installed(program: &str, script: &str) -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into()]);
    let found = folders.map(|folder| folder.join(program)).find(|path| path.is_file());
    found.with_context(|| format!("{program} is not installed here: run {script}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn programs_of_a_tree_are_found_and_named_as_they_are_inside_it() -> std::io::Result<()> {
        let outside = std::env::temp_dir().join(format!("backhaul-tree-{}", uuid::Uuid::new_v4().simple()));
        let programs = outside.join("usr/lib/postgresql/99/bin");
        fs::create_dir_all(&programs)?;
        fs::write(programs.join("initdb"), "")?;
        let tree = Tree { root: Some(outside.clone()), machine: None };

        assert_eq!(tree.folders("/usr/lib/postgresql"), [PathBuf::from("/usr/lib/postgresql/99")]);
        assert!(tree.folders("/opt").is_empty());
        let folder = Path::new("/usr/lib/postgresql/99/bin");
        assert!(tree.has(folder, &["initdb"]) && !tree.has(folder, &["initdb", "postgres"]));
        assert_eq!(tree.enter(Path::new("/tmp"))[1..], [outside.clone().into_os_string(), "/tmp".into()]);
        assert!(Path::new(&tree.enter(Path::new("/tmp"))[0]).is_file());
        let elsewhere = tree.on_machine(Path::new("/run/netns/one")).enter(Path::new("/tmp"));
        assert_eq!(elsewhere[..2], ["nsenter".into(), OsString::from("--net=/run/netns/one")]);
        assert_eq!(elsewhere.len(), 6);

        let here = Tree::default();
        assert!(here.enter(Path::new("/tmp")).is_empty() && !here.has(folder, &["initdb"]));
        fs::remove_dir_all(outside)
    }
}
