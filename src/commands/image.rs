//! `nsctl image`: what is in the store of images.

use std::ffi::OsStr;

use miniserde::{Serialize, json};

use crate::cli;
use crate::commands::print;
use crate::commands::table::{self, Column, Kind, column};
use crate::error::{Error, Result};
use crate::image::{self, Config, Part, Record, Store};
use crate::linux::clock;
use crate::spec::{self, MAX_UNPACKED};

/// One row, as `ls --format json` shows it.
#[derive(Serialize)]
struct Row {
    id: String,
    names: Vec<String>,
    /// Of the import, in seconds since the epoch.
    created: u64,
    /// Of the unpacked layers, in bytes. A layer that several images have counts for each.
    size: u64,
    layers: u64,
}

/// What `inspect` shows.
#[derive(Serialize)]
struct Inspected {
    id: String,
    names: Vec<String>,
    created: String,
    config: Config,
    layers: Vec<Part>,
}

const COLUMNS: &[Column] = &[
    column("ID", Kind::Id),
    column("NAME", Kind::Left),
    column("LAYERS", Kind::Right),
    column("SIZE", Kind::Right),
    column("IMPORTED", Kind::Left),
];

pub(crate) fn image(typed: cli::Image) -> Result<u8> {
    match typed {
        cli::Image::Import { what, name, store, max_unpacked } => {
            let max = max_unpacked.map_or(Ok(MAX_UNPACKED), |max| spec::size("--max-unpacked", &max))?;
            let store = Store::open(store.as_deref())?;
            let image = image::import(&store, &what, name.as_deref(), max)?;
            print(&format!("{}\n", image.id))?;
        }
        cli::Image::Ls { listing, store } => {
            let form = table::form("image ls", &listing, COLUMNS)?;
            let rows: Vec<Row> = match Store::open_existing(store.as_deref())? {
                Some(store) => store.records()?.into_iter().map(row).collect(),
                None => Vec::new(),
            };
            print(&match form.is_json() {
                true => json::to_string(&rows) + "\n",
                false => form.text(COLUMNS, rows.into_iter().map(cells).collect()),
            })?;
        }
        cli::Image::Rm { force, images, store } => {
            return match Store::open_existing(store.as_deref())? {
                Some(store) => remove(&store, force, &images),
                None if force => Ok(0),
                None => Err(missing(&images[0])),
            };
        }
        cli::Image::Inspect { image, store } => match Store::open_existing(store.as_deref())? {
            Some(store) => print(&inspected(&store, &image)?)?,
            None => return Err(missing(&image)),
        },
    }
    Ok(0)
}

/// Removes one after the other; the last one's error is told when all were tried. With `force` one that is not there is as good.
fn remove(store: &Store, force: bool, images: &[std::ffi::OsString]) -> Result<u8> {
    let mut failed = None;
    for image in images {
        if force && store.find(image).is_err() {
            continue;
        }
        match store.remove(image, force) {
            Ok(left) => {
                let what = if left.names.is_empty() { "removed" } else { "untagged" };
                print(&format!("{what} {}\n", image.display()))?;
            }
            Err(error) => failed = Some(error),
        }
    }
    failed.map_or(Ok(0), Err)
}

/// A path is no image yet.
fn missing(image: &OsStr) -> Error {
    match image::is_path(image) {
        true => Error::new(format_args!("{} is a path, and not in the store", image.display()))
            .hint("nsctl image import it, then name it by what nsctl image ls shows"),
        false => image::none_of_that_name(image),
    }
}

fn inspected(store: &Store, words: &OsStr) -> Result<String> {
    let record = store.find(words).map_err(|error| if image::is_path(words) { missing(words) } else { error })?;
    let created = clock::rfc3339(record.created);
    let Record { id, names, config, layers, .. } = record;
    Ok(json::to_string(&Inspected { id, names, created, config, layers }) + "\n")
}

fn row(record: Record) -> Row {
    Row {
        size: record.layers.iter().map(|layer| layer.size).sum(),
        layers: record.layers.len() as u64,
        id: record.id,
        names: record.names,
        created: record.created,
    }
}

fn cells(row: Row) -> Vec<String> {
    let (size, time) = (mebibytes(row.size), clock::rfc3339(row.created));
    vec![row.id, row.names.join(","), row.layers.to_string(), size, time]
}

fn mebibytes(bytes: u64) -> String {
    let tenths = bytes.saturating_mul(10) >> 20;
    format!("{}.{} MiB", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows() {
        let row =
            Row { id: "0123456789abcdef".into(), names: vec!["a:1".into()], created: 0, size: 3 << 19, layers: 2 };
        let imported = "1970-01-01T00:00:00Z";
        assert_eq!(cells(row), ["0123456789abcdef", "a:1", "2", "1.5 MiB", imported]);
    }
}
