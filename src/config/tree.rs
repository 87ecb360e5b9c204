//! The text of several files as one tree whose every node knows where it was written.

use std::{collections::BTreeMap, fmt, path::Path, sync::Arc};

use toml::de::{DeTable, DeValue};

use super::problem::{Place, Problems};

/// A value with the place it was written at.
#[derive(Clone, Debug)]
pub(super) struct Located {
    pub(super) node: Node,
    pub(super) place: Place,
}

/// A TOML value, as far as a configuration can hold one.
#[derive(Clone, Debug)]
pub(super) enum Node {
    Boolean(bool),
    Integer(i64),
    Float(f64),
    Text(String),
    /// Dates and times; no key takes one.
    Datetime,
    Array(Vec<Located>),
    Table(Table),
}

/// A table; keys are unique, so its order carries no meaning.
pub(super) type Table = BTreeMap<String, Located>;

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Boolean(value) => write!(f, "the boolean {value}"),
            Self::Integer(value) => write!(f, "the number {value}"),
            Self::Float(value) => write!(f, "the number {value}"),
            Self::Text(value) => write!(f, "the string {value:?}"),
            Self::Datetime => f.write_str("a date"),
            Self::Array(_) => f.write_str("an array"),
            Self::Table(_) => f.write_str("a table"),
        }
    }
}

/// Reads the text of one file. What cannot be read is reported; the rest is returned.
pub(super) fn parse(text: &str, path: &Path, problems: &Problems) -> Table {
    let file = File { path: path.into(), line_starts: line_starts(text) };
    let (table, errors) = DeTable::parse_recoverable(text);
    for error in errors {
        let at = error.span().map_or(0, |span| span.start);
        problems.report(file.place(at), error.message().to_string());
    }
    file.table(table.get_ref(), problems)
}

/// Lays `over` upon `base`: tables join key by key, lists of tables (`[[hypervisor]]`) grow, every
/// other value is replaced.
pub(super) fn merge(base: &mut Table, over: Table) {
    for (key, value) in over {
        match (base.get_mut(&key).map(|located| &mut located.node), value) {
            (Some(Node::Table(below)), Located { node: Node::Table(above), .. }) => {
                merge(below, above);
            }
            (Some(Node::Array(below)), Located { node: Node::Array(above), .. })
                if is_list_of_tables(below) && is_list_of_tables(&above) =>
            {
                below.extend(above);
            }
            (_, value) => {
                base.insert(key, value);
            }
        }
    }
}

fn is_list_of_tables(list: &[Located]) -> bool {
    !list.is_empty() && list.iter().all(|item| matches!(item.node, Node::Table(_)))
}

struct File {
    path: Arc<Path>,
    line_starts: Vec<usize>,
}

impl File {
    fn place(&self, offset: usize) -> Place {
        let line = self.line_starts.partition_point(|start| *start <= offset);
        Place::File { path: self.path.clone(), line }
    }

    fn table(&self, table: &DeTable<'_>, problems: &Problems) -> Table {
        let entries = table.iter().filter_map(|(key, value)| {
            let place = self.place(key.span().start);
            let node = self.node(value.get_ref(), &place, problems)?;
            Some((key.get_ref().to_string(), Located { node, place }))
        });
        entries.collect()
    }

    /// `None` if the value cannot be held; that is reported.
    fn node(&self, value: &DeValue<'_>, place: &Place, problems: &Problems) -> Option<Node> {
        Some(match value {
            DeValue::String(text) => Node::Text(text.to_string()),
            DeValue::Boolean(value) => Node::Boolean(*value),
            DeValue::Datetime(_) => Node::Datetime,
            DeValue::Table(table) => Node::Table(self.table(table, problems)),
            DeValue::Array(items) => {
                let items = items.iter().filter_map(|item| {
                    let place = self.place(item.span().start);
                    Some(Located { node: self.node(item.get_ref(), &place, problems)?, place })
                });
                Node::Array(items.collect())
            }
            DeValue::Integer(number) => {
                match i64::from_str_radix(number.as_str(), number.radix()) {
                    Ok(number) => Node::Integer(number),
                    Err(_) => {
                        problems.report(place.clone(), format!("{} is too large", number.as_str()));
                        return None;
                    }
                }
            }
            DeValue::Float(number) => Node::Float(number.as_str().parse().unwrap_or(f64::NAN)),
        })
    }
}

fn line_starts(text: &str) -> Vec<usize> {
    let after_breaks = text.bytes().enumerate().filter(|(_, b)| *b == b'\n').map(|(at, _)| at + 1);
    std::iter::once(0).chain(after_breaks).collect()
}
