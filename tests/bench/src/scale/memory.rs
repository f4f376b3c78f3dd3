//! Memory as it is on a machine that has run for a while: full of files.

use crate::machine::memory;
use crate::say;
use anyhow::{Context, Result};
use std::fs::File;
use std::io::{BufReader, Read};

/// Left free.
const SPARE: u64 = 1 << 30;
/// Read at a time.
const PART: u64 = 1 << 30;

/// A file of holes that fills what memory is available, and goes from it when somebody needs it. A guest's kernel may have
/// given memory that nobody had written to, or that was free for long, back to its host, and the first who uses it again
/// waits: whoever has written ten gigabytes would seem to become slower and slower.
#[derive(Debug)]
pub(super) struct FullMemory {
    /// Without a name, so that its end is that of the process.
    _file: File,
}

impl FullMemory {
    /// Reads the file once.
    ///
    /// # Errors
    /// When it cannot be written, or read.
    pub(super) async fn of_this_machine() -> Result<Self> {
        let bytes = memory("MemAvailable").saturating_sub(SPARE);
        say(format_args!("filling {} MiB of memory with a file", bytes >> 20));
        let mut file = file_of_holes(bytes)?;
        // In parts, between which it can be interrupted.
        for _part in 0..bytes.div_ceil(PART) {
            file = tokio::task::spawn_blocking(move || read_part(file)).await??;
        }
        Ok(Self { _file: file })
    }
}

fn file_of_holes(bytes: u64) -> Result<File> {
    let path = std::env::temp_dir().join(format!("backhaul-memory-{}", uuid::Uuid::new_v4().simple()));
    let what = || format!("cannot fill memory with {}", path.display());
    let file = File::options().read(true).write(true).create_new(true).open(&path).with_context(what)?;
    std::fs::remove_file(&path).with_context(what)?;
    file.set_len(bytes).with_context(what)?;
    Ok(file)
}

fn read_part(mut file: File) -> Result<File> {
    let mut part = BufReader::with_capacity(1 << 20, Read::by_ref(&mut file).take(PART));
    std::io::copy(&mut part, &mut std::io::sink()).context("cannot fill memory with a file of holes")?;
    Ok(file)
}
