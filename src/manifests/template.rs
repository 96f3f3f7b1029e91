//! From objects to a chart's templates: a mark is put where a value stands, the object is written as YAML, and the mark's line becomes the template's.

use serde_json::Value as Json;
use serde_yaml_ng::Value as Yaml;

use super::values::Value;
use super::{Error, Object};

/// A place in an object that a value decides.
pub(super) struct Place {
    /// Kind and name.
    pub object: String,
    /// Keys and positions, `/` before each; `name=x` is the list's item of that name, `-` its end.
    pub path: String,
    pub how: How,
}

/// What the template has there.
pub(super) enum How {
    /// The value as it is.
    Tree,
    /// This expression.
    Scalar(String),
    /// These lines instead of the field or the list's item. HERE stands for their indentation, DEEPER for a level more.
    Lines(String),
}

/// What the object has at a place.
pub(super) fn at(objects: &[Object], place: &Place) -> Result<Json, Error> {
    let missing = || missing(place);
    let object = objects.iter().find(|object| object.id() == place.object);
    let mut object = object.ok_or_else(missing)?.value.clone();
    let mut value = &mut object;
    for step in steps(&place.path) {
        value = down(value, step).ok_or_else(missing)?;
    }
    Ok(serde_json::to_value(value)?)
}

/// Whether each value's places are in one of these objects.
pub(super) fn all_found(objects: &[&Object], values: &[Value]) -> Result<(), Error> {
    let ids: Vec<_> = objects.iter().map(|object| object.id()).collect();
    let mut places = values.iter().flat_map(|value| &value.places);
    let lost = places.find(|place| !ids.contains(&place.object));
    lost.map_or(Ok(()), |place| Err(missing(place)))
}

fn missing(place: &Place) -> Error {
    Error::NoSuchPlace(format!("{} {}", place.object, place.path))
}

/// The template of one object.
pub(super) fn template(object: &Object, values: &[Value]) -> Result<String, Error> {
    let its = values
        .iter()
        .flat_map(|value| value.places.iter().map(move |place| (value, place)));
    let its: Vec<_> = its
        .filter(|(_, place)| place.object == object.id())
        .collect();
    let mut marked = object.value.clone();
    for (number, (_, place)) in its.iter().enumerate() {
        put(&mut marked, place, &mark(number)).ok_or_else(|| missing(place))?;
    }
    let mut text = escaped(&serde_yaml_ng::to_string(&marked)?);
    for (number, (value, place)) in its.iter().enumerate() {
        text = text
            .lines()
            .map(|line| filled(line, &mark(number), value, &place.how) + "\n")
            .collect();
    }
    Ok(text)
}

/// What looks like a template in an object's own text is none.
pub(super) fn escaped(text: &str) -> String {
    text.replace("{{", "{{ \"{{\" }}")
}

/// A plain word to YAML, and none of ours.
fn mark(number: usize) -> String {
    format!("MARK{number}MARK")
}

fn filled(line: &str, mark: &str, value: &Value, how: &How) -> String {
    if !line.contains(mark) {
        return line.to_owned();
    }
    let indent = line.len() - line.trim_start().len();
    match how {
        How::Scalar(expression) => line.replace(mark, expression),
        How::Tree if value.default.is_object() => line.replace(
            &format!(" {mark}"),
            &format!(
                " {{{{- toYaml .Values.{} | nindent {} }}}}",
                value.name,
                indent + 2
            ),
        ),
        How::Tree => line.replace(mark, &format!("{{{{ .Values.{} }}}}", value.name)),
        How::Lines(lines) => {
            let lines = lines
                .replace("HERE", &indent.to_string())
                .replace("DEEPER", &(indent + 2).to_string());
            let lines: Vec<_> = lines
                .lines()
                .map(|line| format!("{}{line}", " ".repeat(indent)))
                .collect();
            lines.join("\n")
        }
    }
}

fn put(object: &mut Yaml, place: &Place, mark: &str) -> Option<()> {
    let mut steps: Vec<_> = steps(&place.path).collect();
    let last = steps.pop()?;
    let mut value = object;
    for step in steps {
        value = down(value, step)?;
    }
    let new = Yaml::from(mark);
    match (last, value) {
        ("-", Yaml::Sequence(items)) => items.push(new),
        // Lines take the key's place too.
        (key, Yaml::Mapping(entries)) if matches!(place.how, How::Lines(_)) => {
            entries.remove(key);
            entries.insert(new.clone(), new);
        }
        (step, value) => *down(value, step)? = new,
    }
    Some(())
}

fn steps(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').skip(1)
}

fn down<'a>(value: &'a mut Yaml, step: &str) -> Option<&'a mut Yaml> {
    match (value, step.split_once('='), step.parse::<usize>()) {
        (Yaml::Sequence(items), Some((key, wanted)), _) => {
            items.iter_mut().find(|item| item[key] == wanted)
        }
        (Yaml::Sequence(items), None, Ok(index)) => items.get_mut(index),
        (value, _, _) => value.get_mut(step),
    }
}
