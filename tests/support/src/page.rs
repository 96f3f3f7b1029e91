//! Pages of `docs/`: commands that are read from one, and run by a shell that finds the real kubectl and Helm; and what a run printed, which
//! one has, and `make docs` writes anew.

use std::path::Path;
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use crate::{Plane, binaries, tool};

/// What stands between the fences of a page, in order, from a text of it on to the next heading. Of a console only what was typed.
pub fn blocks(page: &str, from: &str) -> Vec<String> {
    let path = binaries::project_dir().join(page);
    let text = std::fs::read_to_string(path).expect("a page");
    let at = text.find(from).unwrap_or_else(|| panic!("{page}: {from}"));
    let text = &text[at + from.len()..];
    let text = &text[..text.find("\n## ").unwrap_or(text.len())];
    let inside = text.split("```").skip(1).step_by(2);
    inside.map(typed).collect()
}

fn typed(block: &str) -> String {
    let (kind, text) = block.split_once('\n').unwrap_or_default();
    if kind != "console" {
        return text.to_owned();
    }
    let lines = text.lines().filter_map(|line| line.strip_prefix("$ "));
    lines.map(|line| format!("{line}\n")).collect()
}

impl Plane {
    /// Runs commands in that folder to their end; answers what they printed, or what they complained of, each command before it.
    pub fn shell(&self, folder: &Path, commands: &str) -> Result<String, String> {
        let home = tempfile::tempdir().expect("a folder");
        let kubectl = binaries::kubectl_path().expect("kubectl");
        let kubectl = kubectl.parent().expect("a folder").display();
        let helm = binaries::tools("helm").expect("Helm");
        let helm = helm.display();
        let path = std::env::var("PATH").unwrap_or_default();
        let output = tool::at(Command::new("bash"), home.path())
            .args(["-euxo", "pipefail", "-c", commands])
            .current_dir(folder)
            .env("PATH", format!("{kubectl}:{helm}:{path}"))
            .env("KUBECACHEDIR", home.path())
            .env("KUBECONFIG", self.kubeconfig())
            .output()
            .expect("a shell");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if output.status.success() {
            return Ok(text(&output.stdout));
        }
        Err(text(&output.stderr) + &text(&output.stdout))
    }
}

/// Compares a committed page with what a run made of it, or writes it where UPDATE_DOCS asks for that; dates, uids and other chance are
/// not compared.
#[track_caller]
pub fn is_current(page: &str, made: &str) {
    let path = binaries::project_dir().join(page);
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    let (old, new) = (masked(&committed), masked(made));
    if old == new {
        return;
    }
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, made).expect("docs/ is there");
        return;
    }
    let mut lines = old.lines().zip(new.lines());
    let (one, other) = lines
        .find(|(one, other)| one != other)
        .unwrap_or(("one of them", "ends before the other"));
    panic!(
        "{page} is stale: write it anew, and read the difference, which begins with\n{one}\n{other}"
    );
}

/// The same of the part between `<!-- run: NAME -->` and the next `<!-- end -->`.
#[track_caller]
pub fn is_current_in(page: &str, name: &str, made: &str) {
    // Stories beside each other write the same page.
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let text = std::fs::read_to_string(binaries::project_dir().join(page)).expect("a page");
    let begin = format!("<!-- run: {name} -->\n");
    let (before, rest) = text
        .split_once(&begin)
        .unwrap_or_else(|| panic!("{page} has no {begin}"));
    let end = rest.find("<!-- end -->").expect("an end");
    is_current(page, &format!("{before}{begin}{made}{}", &rest[end..]));
}

/// Without what no two runs have the same, how far columns are apart included.
fn masked(text: &str) -> String {
    let lines = text.lines().map(|line| {
        let mut masked = String::new();
        let mut word = String::new();
        for letter in line.chars().chain(['\n']) {
            if letter.is_ascii_alphanumeric() || "-_:".contains(letter) {
                word.push(letter);
                continue;
            }
            masked.push_str(&mask(&word, line));
            word.clear();
            if letter != ' ' || !masked.ends_with(' ') {
                masked.push(letter);
            }
        }
        masked
    });
    lines.collect()
}

fn mask(word: &str, line: &str) -> String {
    let hex = |text: &str| text.len() >= 8 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let date = word.len() == 20 && word.ends_with('Z') && word.as_bytes()[10] == b'T';
    let print = word.len() == 43 && !line.starts_with('$');
    if date || print || is_age(word) || hex(word) {
        return "?".to_owned();
    }
    // A uid, alone or at the end of a name.
    let start = word.len().saturating_sub(36);
    let uid = word
        .get(start..)
        .filter(|end| end.split('-').map(str::len).eq([8, 4, 4, 4, 12]));
    if uid.is_some() {
        return format!("{}?", &word[..start]);
    }
    let by_chance =
        |end: &str| hex(end) || line.starts_with("purge.managedhsm.dev/") && end.len() == 5;
    match word.rsplit_once(['-', '_', ':']) {
        Some((start, end)) if by_chance(end) => format!("{start}-?"),
        _ => word.to_owned(),
    }
}

/// As kubectl and others write one: 5s, 2m10s.
fn is_age(word: &str) -> bool {
    let digits = word.starts_with(|letter: char| letter.is_ascii_digit());
    let ends = word.ends_with(['s', 'm', 'h', 'd']);
    let units = |letter: char| letter.is_ascii_digit() || "smhd".contains(letter);
    digits && ends && word.chars().all(units)
}
