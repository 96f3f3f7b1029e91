//! What a command prints: a table for people, or the same as JSON, YAML or names.

use std::io::Write as _;

use serde_json::{Value, json};

use crate::args::Format;
use crate::ending::{Exit, Failure};

/// One result in all its forms.
pub struct Printed {
    pub table: String,
    pub wide: String,
    pub names: Vec<String>,
    pub value: Value,
}

impl Printed {
    pub fn print(&self, format: Option<Format>) -> Result<(), Failure> {
        match format {
            None => print(&self.table),
            Some(Format::Wide) => print(&self.wide),
            Some(Format::Name) => self
                .names
                .iter()
                .for_each(|name| print(&format!("{name}\n"))),
            Some(Format::Json) => print(&format!("{:#}\n", self.value)),
            Some(Format::Yaml) => print(&yaml(&self.value)?),
        }
        Ok(())
    }
}

pub fn yaml(value: &Value) -> Result<String, Failure> {
    serde_yaml_ng::to_string(value).map_err(|error| {
        Failure::new(
            Exit::Refused,
            format!("This cannot be written as YAML ({error}); use -o json."),
        )
    })
}

/// Objects as one list, as kubectl writes them.
pub fn list(items: Vec<Value>) -> Value {
    json!({"apiVersion": "v1", "kind": "List", "items": items})
}

/// On standard output; without colours where that is no terminal. Nobody reads what a closed pipe does not take.
pub fn print(text: &str) {
    let mut out = anstream::stdout().lock();
    _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// On standard error, so that the result stays clean: progress, and what is worth knowing beside it.
pub fn tell(line: &str) {
    let mut out = anstream::stderr().lock();
    _ = writeln!(out, "{line}");
}
