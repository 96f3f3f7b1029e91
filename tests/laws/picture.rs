//! `docs/states.svg`: the states and the ways between them that were found, drawn.

use std::fmt::Write as _;

use super::states::{Stage, Ways};

/// A stage's box: its upper left corner, what stands in it, and a line about it.
const BOXES: [(Stage, i32, i32, &str, &str); 6] = [
    (Stage::Waiting, 110, 60, "Waiting", "nothing was made yet"),
    (Stage::Active, 400, 60, "Active", "its material works"),
    (Stage::Recovering, 90, 284, "Recovering", "being unsealed"),
    (Stage::Retained, 400, 284, "kept", "sealed, until its date"),
    (
        Stage::Destroying,
        690,
        284,
        "Destroying",
        "it may still turn back",
    ),
    (Stage::Purged, 690, 440, "Purged", "a record of it stays"),
];
const WIDE: i32 = 150;
const HIGH: i32 = 52;

/// A way's line, and where its words begin or, `end`, end. `own` words stand before those that were found.
struct Route {
    from: Stage,
    to: Stage,
    line: &'static str,
    words: (i32, i32),
    anchor: &'static str,
    own: &'static [&'static str],
    /// Whether the acts are told that were found to lead this way.
    acts: bool,
}

#[rustfmt::skip]
const ROUTES: [Route; 13] = [
    Route { from: Stage::Nothing, to: Stage::Waiting, line: "M30,86 H104", words: (66, 78), anchor: "middle", own: &["create"], acts: false },
    Route { from: Stage::Waiting, to: Stage::Nothing, line: "M185,112 V154", words: (194, 132), anchor: "start", own: &["without a proxy:"], acts: true },
    Route { from: Stage::Waiting, to: Stage::Active, line: "M260,86 H394", words: (328, 64), anchor: "middle", own: &["made, once its HSM", "and name are there"], acts: false },
    Route { from: Stage::Active, to: Stage::Retained, line: "M475,112 V278", words: (484, 150), anchor: "start", own: &["sealed, its proxy stands:"], acts: true },
    Route { from: Stage::Retained, to: Stage::Recovering, line: "M400,300 H246", words: (320, 262), anchor: "middle", own: &[], acts: true },
    Route { from: Stage::Recovering, to: Stage::Retained, line: "M240,322 H394", words: (320, 338), anchor: "middle", own: &["it cannot be made"], acts: false },
    Route { from: Stage::Recovering, to: Stage::Active, line: "M165,284 V206 Q165,196 175,196 H410 Q420,196 420,186 V118", words: (292, 190), anchor: "middle", own: &["back, with the same material"], acts: false },
    Route { from: Stage::Retained, to: Stage::Destroying, line: "M550,300 H684", words: (618, 276), anchor: "middle", own: &[], acts: true },
    Route { from: Stage::Destroying, to: Stage::Retained, line: "M690,322 H556", words: (620, 338), anchor: "middle", own: &[], acts: true },
    Route { from: Stage::Destroying, to: Stage::Purged, line: "M765,336 V434", words: (756, 392), anchor: "end", own: &["destroyed: no way", "back from here on"], acts: false },
    Route { from: Stage::Retained, to: Stage::Purged, line: "M475,336 V446 Q475,456 485,456 H684", words: (580, 448), anchor: "middle", own: &[], acts: true },
    Route { from: Stage::Recovering, to: Stage::Purged, line: "M165,336 V468 Q165,478 175,478 H684", words: (300, 470), anchor: "middle", own: &[], acts: true },
    Route { from: Stage::Active, to: Stage::Purged, line: "M550,86 H862 Q872,86 872,96 V456 Q872,466 862,466 H846", words: (700, 78), anchor: "middle", own: &[], acts: true },
];

/// Draws exactly what was found. Err: a way that has no place in the picture, or a place whose way was not found.
pub fn draw(ways: &Ways) -> Result<String, String> {
    if let Some(way) = ways
        .keys()
        .find(|way| !ROUTES.iter().any(|route| is(route, way)))
    {
        return Err(format!(
            "{way:?} has no place in the picture: {:?}",
            ways[way]
        ));
    }
    let mut svg = HEAD.to_owned();
    for route in &ROUTES {
        let found = ways.get(&(route.from, route.to));
        let found =
            found.ok_or_else(|| format!("{:?} to {:?} was not found", route.from, route.to))?;
        let acts = found.iter().filter(|_| route.acts);
        line(&mut svg, route, route.own.iter().chain(acts).copied());
    }
    for (_, x, y, name, about) in BOXES {
        let (middle, first, second) = (x + WIDE / 2, y + 22, y + 40);
        _ = writeln!(
            svg,
            r#"<rect class="box" x="{x}" y="{y}" width="{WIDE}" height="{HIGH}" rx="8"/>"#
        );
        _ = writeln!(
            svg,
            r#"<text class="name" x="{middle}" y="{first}">{name}</text>"#
        );
        _ = writeln!(
            svg,
            r#"<text class="about" x="{middle}" y="{second}">{about}</text>"#
        );
    }
    svg.push_str("</svg>\n");
    Ok(svg)
}

fn is(route: &Route, way: &(Stage, Stage)) -> bool {
    (route.from, route.to) == *way
}

fn line(svg: &mut String, route: &Route, words: impl Iterator<Item = &'static str>) {
    _ = writeln!(
        svg,
        r#"<path class="way" d="{}" marker-end="url(#head)"/>"#,
        route.line
    );
    let (x, y) = route.words;
    for (row, word) in words.enumerate() {
        let y = y + 15 * row as i32;
        _ = writeln!(
            svg,
            r#"<text class="word" x="{x}" y="{y}" text-anchor="{}">{word}</text>"#,
            route.anchor
        );
    }
}

/// A card of its own colours, light or dark, so that it can be read on any page.
const HEAD: &str = r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 890 520" role="img" aria-labelledby="title">
<title id="title">The states of an HSM or key, and the ways between them</title>
<style>
  text { font-family: system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; fill: #1f2937 }
  .card { fill: #ffffff; stroke: #d1d5db }
  .room { fill: #eef2ff; stroke: #a5b4fc; stroke-dasharray: 5 4 }
  .box { fill: #ffffff; stroke: #4f46e5; stroke-width: 1.5 }
  .way { fill: none; stroke: #6b7280; stroke-width: 1.5 }
  .head, .dot { fill: #6b7280 }
  .name { font-size: 15px; font-weight: 600; text-anchor: middle }
  .about { font-size: 11.5px; text-anchor: middle; fill: #4b5563 }
  .word { font-size: 11.5px; fill: #374151 }
  @media (prefers-color-scheme: dark) {
    text { fill: #f3f4f6 }
    .card { fill: #111827; stroke: #374151 }
    .room { fill: #1e1b4b; stroke: #6366f1 }
    .box { fill: #111827; stroke: #a5b4fc }
    .way { stroke: #9ca3af }
    .head, .dot { fill: #9ca3af }
    .about { fill: #d1d5db }
    .word { fill: #e5e7eb }
  }
</style>
<defs><marker id="head" viewBox="0 0 8 8" refX="4" refY="4" markerWidth="7" markerHeight="7" orient="auto-start-reverse"><path class="head" d="M0,0 L8,4 L0,8 z"/></marker></defs>
<rect class="card" x="1" y="1" width="888" height="518" rx="14"/>
<rect class="room" x="60" y="220" width="794" height="140" rx="12"/>
<text class="name" x="786" y="246">SoftDeleted</text>
<circle class="dot" cx="28" cy="86" r="5"/>
<circle class="dot" cx="185" cy="162" r="5"/>
"##;
