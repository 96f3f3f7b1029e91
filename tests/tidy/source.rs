//! Source files as the house rules see them: product code without tests and comments.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The project's root folder.
pub fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// One file of the project.
pub struct Source {
    /// Relative to the project's root, with `/`.
    pub path: String,
    pub text: String,
}

/// The files under `src/` that are not tests.
pub fn product() -> Vec<Source> {
    let files = read(&project().join("src"));
    files
        .into_iter()
        .filter(|file| file.path.ends_with(".rs") && !file.is_test())
        .collect()
}

/// All text files that the project keeps.
pub fn all() -> Vec<Source> {
    [
        "src",
        "tests",
        "benches",
        "examples",
        "hack",
        "controlplane",
        "tools",
        "deploy",
        "charts",
        "crds",
        "docs",
        "demo",
        ".ci",
        "Makefile",
        "Dockerfile",
        "Cargo.toml",
        "build.rs",
        "README.md",
        "SECURITY.md",
        "CHANGELOG.md",
    ]
    .iter()
    .flat_map(|name| read(&project().join(name)))
    .collect()
}

fn read(path: &Path) -> Vec<Source> {
    if path.is_dir() {
        let mut entries: Vec<PathBuf> = std::fs::read_dir(path)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        entries.sort();
        return entries.iter().flat_map(|entry| read(entry)).collect();
    }
    // What is not there yet, or is no text, has no lines to judge.
    let Ok(text) = std::fs::read_to_string(path) else {
        return Vec::new();
    };
    let path = path.strip_prefix(project()).unwrap().display().to_string();
    vec![Source { path, text }]
}

/// The names of the crate's dependencies as code writes them.
pub fn dependencies() -> BTreeSet<String> {
    let manifest = std::fs::read_to_string(project().join("Cargo.toml")).unwrap();
    let section = manifest
        .split("[dependencies]")
        .nth(1)
        .unwrap()
        .split("\n[")
        .next()
        .unwrap();
    section
        .lines()
        .filter_map(|line| line.split_once(" = "))
        .map(|(name, _)| name.replace('-', "_"))
        .collect()
}

impl Source {
    fn is_test(&self) -> bool {
        self.path
            .split('/')
            .any(|part| ["tests", "tests.rs"].contains(&part) || part.ends_with("_tests.rs"))
    }

    pub fn is_crate_root(&self) -> bool {
        let depth = self.path.split('/').count();
        self.path == "src/lib.rs"
            || self.path == "src/main.rs"
            || self.path.starts_with("src/bin/") && depth == 3
    }

    /// The first part of the path below `src/`: `src/plan/seal.rs` stands in `plan`.
    pub fn room(&self) -> &str {
        let below = self.path.strip_prefix("src/").unwrap_or(&self.path);
        let first = below.split('/').next().unwrap_or(below);
        first.strip_suffix(".rs").unwrap_or(first)
    }

    /// The lines of product code with their numbers, without comments and without the test module at the end.
    pub fn code(&self) -> Vec<(usize, &str)> {
        let mut lines = Vec::new();
        let mut all = self.text.lines().enumerate().peekable();
        while let Some((number, line)) = all.next() {
            let opens_tests = all
                .peek()
                .is_some_and(|(_, next)| next.starts_with("mod ") && next.ends_with('{'));
            if line == "#[cfg(test)]" && opens_tests {
                break;
            }
            let code = if line.trim_start().starts_with("//") {
                ""
            } else {
                line.split(" // ").next().unwrap_or(line)
            };
            lines.push((number + 1, code));
        }
        lines
    }

    /// The rooms that the code names, with the line of each: `crate::plan::x`, `use crate::{api, plan::y}`,
    /// and `super::` as far as it leads to the crate's root.
    pub fn imports(&self) -> Vec<(usize, String)> {
        let code = self.code();
        let joined: String = code.iter().flat_map(|(_, line)| [*line, "\n"]).collect();
        let up = "super::".repeat(self.depth());
        let mut found = Vec::new();
        for root in ["crate::", up.as_str()]
            .into_iter()
            .filter(|root| !root.is_empty())
        {
            for (at, _) in joined.match_indices(root) {
                if joined[..at].ends_with("super::") {
                    continue;
                }
                let line = joined[..at].matches('\n').count() + 1;
                let rest = &joined[at + root.len()..];
                found.extend(heads(rest).into_iter().map(|head| (line, head)));
            }
        }
        found
    }

    /// How many `super::` lead from this file's module to the crate's root.
    fn depth(&self) -> usize {
        let below = self.path.strip_prefix("src/").unwrap_or(&self.path);
        let parts = below.split('/').count();
        if below.ends_with("/mod.rs") {
            parts - 1
        } else {
            parts
        }
    }

    /// Each doc comment as one text.
    pub fn docs(&self) -> Vec<String> {
        let mut docs = vec![String::new()];
        for line in self.text.lines().map(str::trim_start) {
            match line.strip_prefix("///") {
                Some(text) => docs.last_mut().unwrap().push_str(text),
                None => docs.push(String::new()),
            }
        }
        docs.retain(|doc| !doc.is_empty());
        docs
    }

    /// The rules that this file's tests are named after: `fn sd04_…`.
    pub fn rule_tests(&self) -> Vec<u8> {
        let after = self.text.split("fn sd").skip(1);
        after
            .filter_map(|rest| rest.split_once('_')?.0.parse().ok())
            .collect()
    }
}

/// The first names after a root: of `plan::x` it is `plan`, of `{api, plan::{a, b}}` they are `api` and `plan`.
fn heads(rest: &str) -> Vec<String> {
    let Some(list) = rest.strip_prefix('{') else {
        return vec![name(rest)];
    };
    let (mut heads, mut depth, mut item) = (Vec::new(), 0, String::new());
    for letter in list.chars() {
        match letter {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => heads.push(std::mem::take(&mut item)),
            _ if depth == 0 => item.push(letter),
            _ => {}
        }
    }
    heads.push(item);
    heads
        .iter()
        .map(|item| name(item.trim()))
        .filter(|name| !name.is_empty() && name != "self")
        .collect()
}

fn name(text: &str) -> String {
    text.chars()
        .take_while(|c| c.is_alphanumeric() || *c == '_')
        .collect()
}

#[test]
fn imports_are_found_in_every_spelling() {
    let text = "use crate::{api, plan::{a, b}};\nuse crate::clock;\nfn f() -> crate::backend::X { super::super::metrics::y() }\n// crate::no\n#[cfg(test)]\nmod tests {\n use crate::run;\n}\n";
    let file = Source {
        path: "src/controller/queue.rs".to_owned(),
        text: text.to_owned(),
    };
    let found: Vec<(usize, String)> = file.imports();
    let found: Vec<(usize, &str)> = found
        .iter()
        .map(|(line, name)| (*line, name.as_str()))
        .collect();
    assert_eq!(
        found,
        [
            (1, "api"),
            (1, "plan"),
            (2, "clock"),
            (3, "backend"),
            (3, "metrics")
        ]
    );
}

#[test]
fn one_super_stays_in_the_room() {
    let file = Source {
        path: "src/controller/queue.rs".to_owned(),
        text: "use super::schedule;\n".to_owned(),
    };
    assert_eq!(file.imports(), []);
}
