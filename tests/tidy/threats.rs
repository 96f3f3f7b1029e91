//! The threat model names tests: each is there, and each line has one.

use super::source;

fn document() -> String {
    let path = source::project().join("docs/threat-model.md");
    std::fs::read_to_string(path).expect("docs/threat-model.md")
}

/// The lines of its tables whose last column is the tests'.
fn lines(text: &str) -> Vec<(&str, Vec<&str>)> {
    let mut with_tests = false;
    let mut lines = Vec::new();
    for line in text.lines() {
        if !line.starts_with('|') {
            with_tests = false;
            continue;
        }
        let cells: Vec<_> = line.trim_matches('|').split('|').map(str::trim).collect();
        match cells.last() {
            Some(&"test") => with_tests = true,
            Some(last) if with_tests && !last.starts_with("---") => {
                lines.push((line, last.split('`').skip(1).step_by(2).collect()));
            }
            _ => {}
        }
    }
    lines
}

/// Whether a function of that name stands there with a test's attribute before it, or in a list that makes tests (`fn name() is …`).
fn has_test(text: &str, name: &str) -> bool {
    let head = format!("fn {name}()");
    text.match_indices(&head).any(|(at, _)| {
        let own = text[..at].rsplit("}\n").next().unwrap_or_default();
        let attribute = own.contains("#[test]") || own.contains("#[tokio::test");
        attribute || text[at + head.len()..].starts_with(" is ")
    })
}

#[test]
fn each_line_of_the_threat_model_names_tests_that_exist() {
    let sources = source::all();
    let sources: Vec<_> = sources
        .iter()
        .filter(|file| file.path.ends_with(".rs"))
        .collect();
    let is_a_test = |name: &str| sources.iter().any(|file| has_test(&file.text, name));
    let text = document();
    let lines = lines(&text);
    assert!(lines.len() > 30, "only {} lines were read", lines.len());
    for (line, tests) in lines {
        assert!(!tests.is_empty(), "a line without a test: {line}");
        for name in tests {
            assert!(is_a_test(name), "no test is named {name}: {line}");
        }
    }
}

#[test]
fn a_line_is_read_by_its_last_column() {
    let text = "| a | test |\n|---|---|\n| b | `c`, `d` |\n\n| e | f |\n|---|---|\n| g | h |\n";
    assert_eq!(lines(text), [("| b | `c`, `d` |", vec!["c", "d"])]);
}
