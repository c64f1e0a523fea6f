//! Which files of a folder are essays, and in which requests they travel.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};

/// Endings of files that can be assessed.
const ENDINGS: [&str; 3] = ["txt", "docx", "pdf"];
/// Most files in one request …
const FILES_PER_REQUEST: usize = 20;
/// … and most bytes, unless one file alone has more.
const BYTES_PER_REQUEST: u64 = 16 * 1024 * 1024;

/// One file of the batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EssayFile {
    pub(crate) path: PathBuf,
    pub(crate) bytes: u64,
}

/// The essays of a folder by name, and the names of the files that are none.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) essays: Vec<EssayFile>,
    pub(crate) passed_over: Vec<String>,
}

/// Looks at the folder itself, not at folders in it; hidden files are passed over silently.
pub(crate) fn find(folder: &Path) -> anyhow::Result<Found> {
    let entries = fs::read_dir(folder)
        .with_context(|| format!("cannot read the folder {}", folder.display()))?;
    let mut found = Found {
        essays: Vec::new(),
        passed_over: Vec::new(),
    };
    for entry in entries {
        let entry =
            entry.with_context(|| format!("cannot read the folder {}", folder.display()))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        // Follows links, so that a folder of links to essays works.
        let Ok(metadata) = fs::metadata(entry.path()) else {
            found.passed_over.push(name);
            continue;
        };
        if name.starts_with('.') || !metadata.is_file() {
            continue;
        }
        let ending = entry
            .path()
            .extension()
            .map(|e| e.to_string_lossy().to_ascii_lowercase());
        if ending.is_some_and(|e| ENDINGS.contains(&e.as_str())) {
            found.essays.push(EssayFile {
                path: entry.path(),
                bytes: metadata.len(),
            });
        } else {
            found.passed_over.push(name);
        }
    }
    found.essays.sort_by(|a, b| a.path.cmp(&b.path));
    found.passed_over.sort();
    if found.essays.is_empty() {
        bail!(
            "there is no .txt, .docx or .pdf file in {}",
            folder.display()
        );
    }
    Ok(found)
}

/// Cuts the files into requests, in order.
pub(crate) fn requests(files: &[EssayFile]) -> Vec<&[EssayFile]> {
    let mut cuts = vec![0];
    let (mut count, mut bytes) = (0, 0);
    for (i, file) in files.iter().enumerate() {
        if count > 0 && (count == FILES_PER_REQUEST || bytes + file.bytes > BYTES_PER_REQUEST) {
            cuts.push(i);
            (count, bytes) = (0, 0);
        }
        count += 1;
        bytes += file.bytes;
    }
    cuts.push(files.len());
    cuts.windows(2).map(|w| &files[w[0]..w[1]]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn essays_are_found_by_ending_in_any_case_and_script() {
        let folder = tempfile::tempdir().unwrap();
        for name in [
            "b.TXT",
            "a b.docx",
            "Åsa.pdf",
            "مقال.txt",
            "notes.md",
            ".hidden.txt",
        ] {
            fs::write(folder.path().join(name), "x").unwrap();
        }
        fs::create_dir(folder.path().join("deeper.txt")).unwrap();
        let found = find(folder.path()).unwrap();
        let names: Vec<_> = found
            .essays
            .iter()
            .map(|f| f.path.file_name().unwrap().to_str().unwrap())
            .collect();
        assert_eq!(names, ["a b.docx", "b.TXT", "Åsa.pdf", "مقال.txt"]);
        assert_eq!(found.passed_over, ["notes.md"]);
    }

    #[test]
    fn a_folder_without_essays_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        assert!(
            find(folder.path())
                .unwrap_err()
                .to_string()
                .contains("no .txt")
        );
        assert!(
            find(&folder.path().join("none"))
                .unwrap_err()
                .to_string()
                .contains("cannot read")
        );
    }

    #[test]
    fn requests_hold_every_file_once_within_both_limits() {
        let of = |bytes: &[u64]| -> Vec<EssayFile> {
            bytes
                .iter()
                .map(|&bytes| EssayFile {
                    path: PathBuf::new(),
                    bytes,
                })
                .collect()
        };
        let sizes =
            |files: &[EssayFile]| requests(files).iter().map(|r| r.len()).collect::<Vec<_>>();
        assert_eq!(sizes(&of(&[1; 20])), [20]);
        assert_eq!(sizes(&of(&[1; 21])), [20, 1]);
        assert_eq!(sizes(&of(&[BYTES_PER_REQUEST, 1])), [1, 1]);
        assert_eq!(sizes(&of(&[BYTES_PER_REQUEST - 1, 1, 1])), [2, 1]);
        assert_eq!(
            sizes(&of(&[BYTES_PER_REQUEST * 2, BYTES_PER_REQUEST * 2])),
            [1, 1]
        );
    }
}
