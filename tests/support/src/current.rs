//! Pages of `docs/` that are written from the code: `make docs` writes them, and a stale one fails.

use crate::binaries::project_dir;

/// Compares the committed page, or writes it where that was asked for.
#[track_caller]
pub fn is_current(file: &str, made: &str) {
    let path = project_dir().join("docs").join(file);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, made).expect("docs/ is there");
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == made,
        "docs/{file} is stale: run `make docs` and read the difference"
    );
}
