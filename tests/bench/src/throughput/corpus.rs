//! The pages that are pulled: files on disk, in the form of an Ultravox account's call list, and what must be stored
//! of them.

use anyhow::Result;
use std::collections::HashMap;
use std::fmt::Write;
use std::fs;
use std::path::Path;
use testkit::sample_upstream::TenantOptions;

/// What kind of pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// 100 records of some 1.6 KB.
    Full,
    /// One record.
    Thin,
}

impl Kind {
    /// Its word, in paths and figures.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Thin => "thin",
        }
    }

    const fn records(self) -> u32 {
        match self {
            Self::Full => 100,
            Self::Thin => 1,
        }
    }
}

/// Jobs, and the pages of each.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// Each has an account of its own, and walks it serially.
    pub jobs: u32,
    /// Of each job.
    pub pages: u32,
}

/// Pages of one kind on disk, and their records.
#[derive(Debug)]
pub struct Corpus {
    /// Of which kind.
    pub kind: Kind,
    /// How many.
    pub size: Size,
    /// The bytes of all pages.
    pub bytes: usize,
    /// By id: the number of the job, and the hash of the record's text.
    expected: HashMap<String, (u32, [u8; 32])>,
}

impl Corpus {
    /// Writes them below `root`: the first page of job 7 is `/full/7/api/calls`, as the preset asks for it; the others are
    /// where `next` says.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn write(root: &Path, kind: Kind, size: Size) -> Result<Self> {
        let mut corpus = Self { kind, size, bytes: 0, expected: HashMap::new() };
        for job in 0..size.jobs {
            let folder = root.join(path(kind, job)).join("api");
            fs::create_dir_all(&folder)?;
            let total = u64::from(size.pages * kind.records());
            let tenant = TenantOptions::new(format!("{}-{job}", kind.word()), total);
            let mut texts = tenant.texts();
            for page in 0..size.pages {
                let mut body = String::from("{\"next\":");
                if page + 1 < size.pages {
                    write!(body, "\"/{}/api/page-{}\"", path(kind, job), page + 1)?;
                } else {
                    body.push_str("null");
                }
                body.push_str(",\"previous\":null,\"results\":[");
                for (number, (id, text)) in (0..kind.records()).zip(&mut texts) {
                    body.push_str(if number == 0 { "" } else { "," });
                    body.push_str(&text);
                    corpus.expected.insert(id, (job, *blake3::hash(text.as_bytes()).as_bytes()));
                }
                write!(body, "],\"total\":{total}}}")?;
                corpus.bytes += body.len();
                let name = if page == 0 { "calls".to_owned() } else { format!("page-{page}") };
                fs::write(folder.join(name), body)?;
            }
        }
        Ok(corpus)
    }

    /// How many pages there are.
    #[must_use]
    pub const fn pages(&self) -> u32 {
        self.size.jobs * self.size.pages
    }

    /// How many records there are.
    #[must_use]
    pub fn records(&self) -> usize {
        self.expected.len()
    }

    /// Whether a stored record is one of these.
    #[must_use]
    pub fn has(&self, job: u32, id: &str, hash: &[u8]) -> bool {
        self.expected.get(id).is_some_and(|(of, expected)| *of == job && expected.as_slice() == hash)
    }
}

/// Where a job's pages are, below the server's root.
#[must_use]
pub fn path(kind: Kind, job: u32) -> String {
    format!("{}/{job}", kind.word())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_lead_from_one_to_the_next_and_hold_what_is_expected() {
        let root = std::env::temp_dir().join(format!("backhaul-corpus-{}", uuid::Uuid::new_v4().simple()));
        let corpus = Corpus::write(&root, Kind::Full, Size { jobs: 2, pages: 3 }).unwrap();
        assert_eq!((corpus.pages(), corpus.records()), (6, 600));
        let (mut next, mut pages) = (Some("/full/1/api/calls".to_owned()), 0);
        while let Some(path) = next {
            let text = fs::read_to_string(root.join(&path[1..])).unwrap();
            let page: serde_json::Value = serde_json::from_str(&text).unwrap();
            assert_eq!(page["results"].as_array().map(Vec::len), Some(100));
            next = page["next"].as_str().map(ToOwned::to_owned);
            pages += 1;
        }
        assert_eq!(pages, 3);
        let (id, (job, hash)) = corpus.expected.iter().next().unwrap();
        assert!(
            corpus.has(*job, id, hash) && !corpus.has(job + 1, id, hash) && !corpus.has(*job, id, &[0; 32])
        );
        fs::remove_dir_all(root).unwrap();
    }
}
