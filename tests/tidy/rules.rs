//! The specification's rules, and how an item says which one it is.

/// SD-01 to SD-35.
pub const ALL: std::ops::RangeInclusive<u8> = 1..=35;

/// The ids that a doc comment begins with: of `SD-14 SD-15 Whether …` they are 14 and 15.
pub fn leading_ids(doc: &str) -> Vec<u8> {
    let words = doc.split_whitespace();
    words
        .map_while(|word| {
            word.strip_prefix("SD-")?
                .trim_end_matches(['.', ':', ','])
                .parse()
                .ok()
        })
        .collect()
}

#[test]
fn ids_are_read_from_the_beginning_only() {
    assert_eq!(leading_ids(" SD-14 SD-15 Whether it may"), [14, 15]);
    assert_eq!(leading_ids(" SD-15."), [15]);
    assert_eq!(leading_ids(" Whether it may (SD-15)"), [0; 0]);
}
