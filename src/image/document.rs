//! The JSON documents between a name and the layers: index, manifest and docker's manifest.json, and which entry of them is
//! meant.

use miniserde::json::Value;

use super::digest::Digest;
use crate::error::{Error, Result};
use crate::json;

/// An index and a manifest in one: which of them a document is, its fields say.
#[derive(Default)]
pub(super) struct Document {
    media_type: String,
    manifests: Vec<Descriptor>,
    config: Option<Descriptor>,
    layers: Vec<Descriptor>,
}

#[derive(Clone)]
pub(super) struct Descriptor {
    media_type: String,
    digest: String,
    pub(super) size: u64,
    has_urls: bool,
    /// org.opencontainers.image.ref.name: a tag or a whole name.
    reference: String,
    /// The whole name, "docker.io/library/debian:12", where there is one; else the same as `reference`.
    name: String,
    /// os, architecture, variant.
    platform: Option<[String; 3]>,
}

impl Document {
    pub(super) fn parse(what: &str, text: &[u8]) -> Result<Self> {
        Self::read(text).map_err(|error| error.within(what))
    }

    fn read(text: &[u8]) -> Result<Self> {
        let value = json::parse("it", text)?;
        let all = |key| json::list(&value, key)?.iter().map(Descriptor::read).collect::<Result<Vec<_>>>();
        Ok(Self {
            media_type: json::text(&value, "mediaType")?,
            manifests: all("manifests")?,
            config: json::get(&value, "config")?.map(Descriptor::read).transpose()?,
            layers: all("layers")?,
        })
    }
}

impl Descriptor {
    fn read(value: &Value) -> Result<Self> {
        let annotations = json::map(value, "annotations")?;
        let of = |key| annotations.get(key).cloned().unwrap_or_default();
        let reference = of("org.opencontainers.image.ref.name");
        let whole = of("io.containerd.image.name");
        let platform = match json::get(value, "platform")? {
            None => None,
            Some(p) => Some([json::text(p, "os")?, json::text(p, "architecture")?, json::text(p, "variant")?]),
        };
        Ok(Self {
            media_type: json::text(value, "mediaType")?,
            digest: json::text(value, "digest")?,
            size: json::number(value, "size")?,
            has_urls: !json::list(value, "urls")?.is_empty(),
            name: if whole.is_empty() { reference.clone() } else { whole },
            reference,
            platform,
        })
    }
}

const INDEXES: [&str; 2] =
    ["application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json"];
const MANIFESTS: [&str; 2] =
    ["application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json"];
const CONFIGS: [&str; 2] =
    ["application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json"];
const LAYERS: [&str; 6] = [
    "application/vnd.oci.image.layer.v1.tar",
    "application/vnd.oci.image.layer.v1.tar+gzip",
    "application/vnd.oci.image.layer.v1.tar+zstd",
    "application/vnd.docker.image.rootfs.diff.tar",
    "application/vnd.docker.image.rootfs.diff.tar.gzip",
    "application/vnd.docker.image.rootfs.diff.tar.zstd",
];

impl Descriptor {
    pub(super) fn digest(&self) -> Result<Digest> {
        Digest::parse(&self.digest)
    }

    fn is_one_of(&self, what: &str, types: &[&str]) -> Result<()> {
        let media_type = self.media_type.as_str();
        if types.contains(&media_type) {
            return Ok(());
        }
        let shown = super::fault::shown(media_type.as_bytes());
        let error = Error::new(format_args!("the image's {what} has the media type {shown}"));
        Err(if media_type.contains("encrypted") {
            error.hint("nsctl cannot decrypt; decrypt the image first, with skopeo copy --decryption-key")
        } else if media_type.contains("foreign") || media_type.contains("nondistributable") {
            error.hint("such a layer is not in the image but at its vendor's, and nsctl downloads nothing")
        } else {
            error.hint(format_args!("nsctl knows {}", types.join(", ")))
        })
    }
}

/// What an index leads to: an image of this machine's platform, or a further index.
pub(super) enum Found {
    Index(Descriptor),
    Manifest(Descriptor),
}

/// The name, and the descriptor of the manifest or index that is meant by `tag` in the topmost index. An exact name goes
/// before one that only ends with the tag.
pub(super) fn choose(index: &Document, tag: Option<&str>) -> Result<(Option<String>, Found)> {
    let all = &index.manifests;
    let exactly = |one: &&Descriptor| tag.is_none_or(|tag| one.name == tag || one.reference == tag);
    let mut found: Vec<&Descriptor> = all.iter().filter(exactly).collect();
    if found.is_empty() {
        found = all.iter().filter(|one| tag.is_some_and(|tag| ends_with_tag(&one.name, tag))).collect();
    }
    let Some(first) = found.first() else {
        return Err(no_such(tag, all.iter().map(|one| one.name.as_str()).filter(|name| !name.is_empty())));
    };
    if found.iter().any(|one| one.name != first.name) {
        let shown =
            |one: &&Descriptor| if one.name.is_empty() { "(one without a tag)".into() } else { one.name.clone() };
        return Err(ambiguous(found.iter().map(shown).collect()));
    }
    Ok((Some(first.name.clone()).filter(|name| !name.is_empty()), platform(&found)?))
}

fn ends_with_tag(name: &str, tag: &str) -> bool {
    name.strip_suffix(tag).is_some_and(|rest| rest.ends_with(':'))
}

fn ambiguous(mut names: Vec<String>) -> Error {
    names.sort_unstable();
    names.dedup();
    Error::new(format_args!("there are several images in it: {}", list(names.iter().map(String::as_str))))
        .hint("choose one with PATH:TAG")
}

fn no_such<'a>(tag: Option<&str>, names: impl Iterator<Item = &'a str>) -> Error {
    let Some(tag) = tag else { return Error::new("there is no image in it") };
    let error = Error::new(format_args!("there is no image {} in it", super::fault::shown(tag.as_bytes())));
    match list(names) {
        names if names.is_empty() => error.hint("its images have no tags; leave the tag away"),
        names => error.hint(format_args!("there is {names}")),
    }
}

fn list<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<String> = names.map(|name| super::fault::shown(name.as_bytes())).collect();
    names.join(", ")
}

/// The descriptor of a nested index that fits this machine.
pub(super) fn choose_platform(index: &Document) -> Result<Found> {
    let all: Vec<&Descriptor> = index.manifests.iter().collect();
    platform(&all)
}

fn platform(all: &[&Descriptor]) -> Result<Found> {
    let best = all.iter().filter_map(|one| one.rank().map(|rank| (rank, *one))).min_by_key(|(rank, _)| *rank);
    let Some((rank, best)) = best else {
        let platforms = all.iter().map(|one| one.platform_name()).collect::<Vec<_>>().join(", ");
        let error = Error::new(format_args!("there is no image for linux/{} in it", architecture()));
        return Err(if platforms.is_empty() { error } else { error.hint(format_args!("there is {platforms}")) });
    };
    if all.iter().any(|one| one.rank() == Some(rank) && one.digest != best.digest) {
        return Err(Error::new("there are several images for this machine's platform in it, without names"));
    }
    if INDEXES.contains(&best.media_type.as_str()) {
        return Ok(Found::Index(best.clone()));
    }
    best.is_one_of("manifest", &MANIFESTS)?;
    Ok(Found::Manifest(best.clone()))
}

/// This machine's architecture by Go's name, which images use.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

impl Descriptor {
    /// How well it fits this machine, 0 best. None: not at all. A descriptor without a platform fits, as it is the only one.
    fn rank(&self) -> Option<u8> {
        let Some([os, architecture_there, variant]) = &self.platform else { return Some(9) };
        if os != "linux" || architecture_there != architecture() {
            return None;
        }
        // The variants that every processor which nsctl is built for has; arm is built for v7.
        let known: &[&str] = match std::env::consts::ARCH {
            "x86_64" => &["v1", ""],
            "aarch64" => &["v8", ""],
            "arm" => &["v7", "", "v6", "v5"],
            _ => &[""],
        };
        known.iter().position(|one| one == variant).map(|rank| rank as u8)
    }

    fn platform_name(&self) -> String {
        let parts = self.platform.iter().flatten().map(String::as_str).filter(|part| !part.is_empty());
        super::fault::shown(parts.collect::<Vec<_>>().join("/").as_bytes())
    }
}

/// The configuration and the layers, bottommost first.
pub(super) struct Manifest {
    pub(super) config: Descriptor,
    pub(super) layers: Vec<Descriptor>,
}

impl Document {
    pub(super) fn manifest(self) -> Result<Manifest> {
        if !self.media_type.is_empty() && !MANIFESTS.contains(&self.media_type.as_str()) {
            let media_type = super::fault::shown(self.media_type.as_bytes());
            return Err(Error::new(format_args!("the image's manifest has the media type {media_type}")));
        }
        let Some(config) = self.config else { return Err(Error::new("the image's manifest has no configuration")) };
        config.is_one_of("configuration", &CONFIGS)?;
        for layer in &self.layers {
            layer.is_one_of("layer", &LAYERS)?;
            if layer.has_urls {
                return Err(Error::new("a layer of the image is to be downloaded").hint("nsctl downloads nothing"));
            }
        }
        Ok(Manifest { config, layers: self.layers })
    }
}

/// One image in docker's manifest.json; paths are names in the archive.
#[derive(Clone)]
pub(super) struct Saved {
    pub(super) config: String,
    tags: Vec<String>,
    pub(super) layers: Vec<String>,
}

impl Saved {
    pub(super) fn parse(text: &[u8]) -> Result<Vec<Self>> {
        let read = || match json::parse("it", text)? {
            Value::Array(list) => list.iter().map(Self::read).collect(),
            _ => Err(Error::new("it is not a list")),
        };
        read().map_err(|error| error.within("manifest.json"))
    }

    fn read(value: &Value) -> Result<Self> {
        Ok(Self {
            config: json::text(value, "Config")?,
            tags: json::texts(value, "RepoTags")?,
            layers: json::texts(value, "Layers")?,
        })
    }
}

/// The image of a docker archive that `tag` means, and its name.
pub(super) fn choose_saved(images: &[Saved], tag: Option<&str>) -> Result<(Option<String>, Saved)> {
    let all = || images.iter().flat_map(|one| one.tags.iter().map(move |name| (name, one)));
    let Some(tag) = tag else {
        return match images {
            [] => Err(no_such(None, std::iter::empty())),
            [one] => Ok((one.tags.first().cloned(), one.clone())),
            _ => Err(ambiguous(all().map(|(name, _)| name.clone()).collect())),
        };
    };
    let mut found: Vec<(&String, &Saved)> = all().filter(|(name, _)| *name == tag).collect();
    if found.is_empty() {
        found = all().filter(|(name, _)| ends_with_tag(name, tag)).collect();
    }
    match found.first() {
        None => Err(no_such(Some(tag), all().map(|(name, _)| name.as_str()))),
        Some((name, one)) if found.iter().all(|(_, other)| other.config == one.config) => {
            Ok((Some((*name).clone()), (*one).clone()))
        }
        Some(_) => Err(ambiguous(found.iter().map(|(name, _)| (*name).clone()).collect())),
    }
}

#[cfg(test)]
mod tests;
