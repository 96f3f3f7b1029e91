//! Each link of each page leads somewhere: to a file that exists, and to a heading of it. What leads out of the project is not asked for.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

/// Where pages are: single ones, and folders with all that are in them.
const PLACES: &[&str] = &[
    "README.md",
    "CHANGELOG.md",
    "SECURITY.md",
    "docs",
    "charts",
    "deploy",
];

pub fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// What a page says of itself and of others.
#[derive(Debug, Default, PartialEq)]
struct Page {
    /// As GitHub and mdBook name them in an address.
    anchors: BTreeSet<String>,
    /// Headings of which the two may make different names.
    unsure: Vec<String>,
    links: Vec<String>,
}

impl Page {
    fn read(text: &str) -> Self {
        let mut page = Self::default();
        let mut heading: Option<String> = None;
        for event in Parser::new_ext(text, Options::ENABLE_TABLES) {
            match event {
                Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
                Event::End(TagEnd::Heading(_)) => {
                    let words = heading.take().unwrap_or_default();
                    page.anchor(&words);
                }
                Event::Text(words) | Event::Code(words) => {
                    if let Some(heading) = &mut heading {
                        heading.push_str(&words);
                    }
                }
                Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                    page.links.push(dest_url.into_string());
                }
                _ => {}
            }
        }
        page
    }

    /// Both: lower case, a hyphen for each space, letters, digits, hyphens and underscores stay, the next of that name gets a number.
    /// Beyond ASCII they differ.
    fn anchor(&mut self, heading: &str) {
        if !heading.is_ascii() {
            self.unsure.push(heading.to_owned());
        }
        let letter = |letter: char| match letter {
            ' ' => Some('-'),
            '-' | '_' => Some(letter),
            _ => letter
                .is_ascii_alphanumeric()
                .then(|| letter.to_ascii_lowercase()),
        };
        let name: String = heading.chars().filter_map(letter).collect();
        let numbered = (1..).map(|number| format!("{name}-{number}"));
        let mut names = std::iter::once(name.clone()).chain(numbered);
        let free = names.find(|name| !self.anchors.contains(name));
        self.anchors.extend(free);
    }
}

/// All pages, by their path from the project's root.
fn pages() -> BTreeMap<PathBuf, Page> {
    let mut found = BTreeMap::new();
    for place in PLACES {
        collect(Path::new(place), &mut found);
    }
    found
}

fn collect(path: &Path, found: &mut BTreeMap<PathBuf, Page>) {
    let whole = project().join(path);
    if whole.is_dir() {
        for entry in std::fs::read_dir(&whole).expect("a folder") {
            collect(&path.join(entry.expect("an entry").file_name()), found);
        }
    } else if path.extension().is_some_and(|ending| ending == "md") {
        let text = std::fs::read_to_string(&whole).expect("a page");
        found.insert(path.to_owned(), Page::read(&text));
    }
}

/// Why that link of that page leads nowhere, if it does.
fn broken(from: &Path, link: &str, pages: &BTreeMap<PathBuf, Page>) -> Option<String> {
    if link.starts_with("https://") {
        return None;
    }
    let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
    let to = match file {
        "" => from.to_owned(),
        file => resolved(&from.parent().unwrap_or(from).join(file)),
    };
    if link.contains("://") || file.starts_with('/') || to.starts_with("..") {
        return Some("is no relative link within the project".to_owned());
    }
    if !project().join(&to).exists() {
        return Some(format!("leads to {}, which does not exist", to.display()));
    }
    let has = |page: &Page| page.anchors.contains(anchor);
    let missing = !anchor.is_empty() && !pages.get(&to).is_some_and(has);
    missing.then(|| format!("leads to no heading of {}", to.display()))
}

/// Without `..` in it; what leads out of the project keeps one at its start.
fn resolved(path: &Path) -> PathBuf {
    let mut whole = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir if whole.file_name().is_some() => _ = whole.pop(),
            Component::CurDir => {}
            part => whole.push(part),
        }
    }
    whole
}

#[test]
fn each_link_leads_to_a_file_and_each_anchor_to_a_heading() {
    let pages = pages();
    assert!(pages.len() > 15, "the pages were not found: {pages:?}");
    let mut faults = Vec::new();
    let mut followed = 0;
    for (path, page) in &pages {
        followed += page.links.len();
        for link in &page.links {
            let why = broken(path, link, &pages);
            faults.extend(why.map(|why| format!("{}: {link} {why}", path.display())));
        }
        let unsure = page.unsure.iter();
        faults.extend(unsure.map(|heading| {
            format!(
                "{}: a heading beyond ASCII has another anchor on GitHub than in mdBook: {heading}",
                path.display()
            )
        }));
    }
    assert!(followed > 150, "the links were not found");
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn a_wrong_link_is_found() {
    let pages = pages();
    let from = Path::new("docs/install.md");
    for (link, why) in [
        ("troubleshooting.md", None),
        ("troubleshooting.md#hsmdeleted", None),
        ("#backup", None),
        ("../README.md#the-story", None),
        ("../deploy/samples", None),
        ("https://example.com/x#y", None),
        (
            "nothing.md",
            Some("leads to docs/nothing.md, which does not exist"),
        ),
        ("../docs", None),
        ("#nothing", Some("leads to no heading of docs/install.md")),
        (
            "backends.md#backup",
            Some("leads to no heading of docs/backends.md"),
        ),
        (
            "../deploy/samples#a",
            Some("leads to no heading of deploy/samples"),
        ),
        (
            "../../elsewhere.md",
            Some("is no relative link within the project"),
        ),
        (
            "/docs/install.md",
            Some("is no relative link within the project"),
        ),
        (
            "http://example.com",
            Some("is no relative link within the project"),
        ),
    ] {
        assert_eq!(broken(from, link, &pages).as_deref(), why, "{link}");
    }
}

#[test]
fn a_page_is_read_as_github_and_mdbook_read_it() {
    let text = "# One `two`, Three\n\n## A-b_c (d)\n\ntext [x](y.md#z) ![p](q.svg)\n\n## A-b_c (d)\n\n\
        ```\n# no heading [no](link)\n```\n\n| a |\n|---|\n| [in a table][ref] |\n\n[ref]: r.md\n";
    let page = Page::read(text);
    assert_eq!(
        page.anchors.iter().map(String::as_str).collect::<Vec<_>>(),
        ["a-b_c-d", "a-b_c-d-1", "one-two-three"]
    );
    assert_eq!(page.links, ["y.md#z", "q.svg", "r.md"]);
    assert_eq!(Page::read("## Schlüssel\n").unsure, ["Schlüssel"]);
}

/// The site has what its summary names, and each page that lies in docs/ is to be found from there.
#[test]
fn each_page_is_in_the_summary_of_the_site() {
    let pages = pages();
    let summary = Path::new("docs/SUMMARY.md");
    let named = &pages[summary].links;
    let missing: Vec<_> = pages
        .keys()
        .filter(|page| page.parent() == summary.parent() && *page != summary)
        .filter_map(|page| page.file_name()?.to_str())
        .filter(|page| !named.iter().any(|link| link == page))
        .collect();
    assert!(missing.is_empty(), "not in docs/SUMMARY.md: {missing:?}");
}

/// What the code itself says of pages, such as `docs/troubleshooting.md#hsmdeleted` in a message.
#[test]
fn each_page_that_the_code_names_is_there() {
    let pages = pages();
    let mut named = 0;
    let mut faults = Vec::new();
    for place in ["src", "deploy", "charts", "hack", "Makefile"] {
        texts(&project().join(place), &mut |path, text| {
            for rest in text.split("docs/").skip(1) {
                let of_a_link =
                    |letter: &char| letter.is_ascii_alphanumeric() || "-_.#/".contains(*letter);
                let link: String = rest.chars().take_while(of_a_link).collect();
                let link = link.trim_end_matches(['.', '#']);
                if !link.contains(".md") {
                    continue;
                }
                named += 1;
                let why = broken(Path::new("docs/page"), link, &pages);
                faults.extend(why.map(|why| format!("{}: docs/{link} {why}", path.display())));
            }
        });
    }
    assert!(named > 5, "the names were not found");
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

fn texts(path: &Path, read: &mut impl FnMut(&Path, &str)) {
    if path.is_dir() {
        for entry in std::fs::read_dir(path).expect("a folder") {
            texts(&entry.expect("an entry").path(), read);
        }
    } else if let Ok(text) = std::fs::read_to_string(path) {
        read(path, &text);
    }
}
