//! OCI layouts made by hand, so that they can be wrong.

use std::fs;
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::tar::Tar;

#[derive(Default)]
pub(crate) struct Layout {
    blobs: Vec<Vec<u8>>,
    /// The manifest's text, and what stands in the index besides its digest and size.
    manifests: Vec<(String, String)>,
    index: bool,
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn descriptor(media_type: &str, bytes: &[u8], more: &str) -> String {
    format!(r#"{{"mediaType":"{media_type}","digest":"sha256:{}","size":{}{more}}}"#, hex(bytes), bytes.len())
}

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

impl Layout {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Adds an uncompressed layer; its descriptor and its digest.
    pub(crate) fn layer(&mut self, tar: &mut Tar) -> (String, String) {
        self.layer_bytes(&tar.bytes())
    }

    pub(crate) fn layer_bytes(&mut self, bytes: &[u8]) -> (String, String) {
        self.blobs.push(bytes.to_vec());
        (descriptor("application/vnd.oci.image.layer.v1.tar", bytes, ""), hex(bytes))
    }

    pub(crate) fn image(&mut self, layers: &[(String, String)], tag: Option<&str>, platform: Option<(&str, &str)>) {
        let ids: Vec<String> = layers.iter().map(|(_, hex)| format!("\"sha256:{hex}\"")).collect();
        let config = format!(
            r#"{{"os":"linux","config":{{"Cmd":["/x"]}},"rootfs":{{"type":"layers","diff_ids":[{}]}}}}"#,
            ids.join(",")
        );
        let all: Vec<&str> = layers.iter().map(|(descriptor, _)| descriptor.as_str()).collect();
        let about = descriptor("application/vnd.oci.image.config.v1+json", config.as_bytes(), "");
        let manifest = format!(r#"{{"schemaVersion":2,"config":{about},"layers":[{}]}}"#, all.join(","));
        self.blobs.push(config.into_bytes());
        let mut more = String::new();
        if let Some(tag) = tag {
            more += &format!(r#","annotations":{{"org.opencontainers.image.ref.name":"{tag}"}}"#);
        }
        if let Some((architecture, variant)) = platform {
            more += &format!(r#","platform":{{"os":"linux","architecture":"{architecture}","variant":"{variant}"}}"#);
        }
        self.manifests.push((manifest, more));
    }

    fn index_text(&self) -> String {
        let media_type = if self.index { INDEX } else { MANIFEST };
        let all: Vec<String> =
            self.manifests.iter().map(|(text, more)| descriptor(media_type, text.as_bytes(), more)).collect();
        format!(r#"{{"schemaVersion":2,"manifests":[{}]}}"#, all.join(","))
    }

    /// Puts all that the index has into an index of its own, which it then has alone.
    pub(crate) fn nest(&mut self) {
        let text = self.index_text();
        let before = std::mem::take(&mut self.manifests);
        self.blobs.extend(before.into_iter().map(|(text, _)| text.into_bytes()));
        self.manifests.push((text, String::new()));
        self.index = true;
    }

    pub(crate) fn write(&self, dir: &Path) {
        let blobs = dir.join("blobs/sha256");
        fs::create_dir_all(&blobs).unwrap();
        let manifests = self.manifests.iter().map(|(text, _)| text.as_bytes());
        for blob in self.blobs.iter().map(Vec::as_slice).chain(manifests) {
            fs::write(blobs.join(hex(blob)), blob).unwrap();
        }
        fs::write(dir.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
        fs::write(dir.join("index.json"), self.index_text()).unwrap();
    }

    /// The same with every manifest's text changed.
    pub(crate) fn write_edited(&self, dir: &Path, edit: impl Fn(&str) -> String) {
        let manifests = self.manifests.iter().map(|(text, more)| (edit(text), more.clone())).collect();
        Self { blobs: self.blobs.clone(), manifests, index: self.index }.write(dir);
    }
}
