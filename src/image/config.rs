//! The image's own configuration: what it would like its container to be. Only wishes that harm nobody are read.

use std::collections::BTreeMap;

use miniserde::Serialize;
use miniserde::json::Value;

use super::digest::Digest;
use crate::error::{Error, Result};
use crate::json;

#[derive(Default, Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Config {
    pub(crate) env: Vec<String>,
    pub(crate) entrypoint: Vec<String>,
    pub(crate) cmd: Vec<String>,
    pub(crate) user: String,
    pub(crate) working_dir: String,
    pub(crate) stop_signal: String,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) volumes: Vec<String>,
    pub(crate) exposed_ports: Vec<String>,
}

/// Reads the document, as OCI and docker write it; with it the layers' diff ids, bottommost first.
pub(super) fn parse(text: &[u8]) -> Result<(Config, Vec<Digest>)> {
    read(text).map_err(|error| error.within("the image's configuration"))
}

fn read(text: &[u8]) -> Result<(Config, Vec<Digest>)> {
    let document = json::parse("it", text)?;
    let os = json::text(&document, "os")?;
    if !os.is_empty() && os != "linux" {
        return Err(Error::new(format_args!("it is for {}", super::fault::shown(os.as_bytes())))
            .hint("nsctl runs Linux images"));
    }
    let config = match json::get(&document, "config")? {
        None => <Config as Default>::default(),
        Some(wishes) => Config {
            env: json::texts(wishes, "Env")?,
            entrypoint: json::texts(wishes, "Entrypoint")?,
            cmd: json::texts(wishes, "Cmd")?,
            user: json::text(wishes, "User")?,
            working_dir: json::text(wishes, "WorkingDir")?,
            stop_signal: json::text(wishes, "StopSignal")?,
            labels: json::map(wishes, "Labels")?,
            volumes: json::keys(wishes, "Volumes")?,
            exposed_ports: json::keys(wishes, "ExposedPorts")?,
        },
    };
    if config.strings().any(|text| text.contains('\0')) {
        return Err(Error::new("it has a NUL within a string, which no system call can take"));
    }
    let diff_ids = match json::get(&document, "rootfs")? {
        None => Vec::new(),
        Some(rootfs) => json::texts(rootfs, "diff_ids")?,
    };
    Ok((config, diff_ids.iter().map(|id| Digest::parse(id)).collect::<Result<_>>()?))
}

impl Config {
    /// As it stands in the store's own record.
    pub(super) fn of_record(value: &Value) -> Result<Self> {
        Ok(Self {
            env: json::texts(value, "env")?,
            entrypoint: json::texts(value, "entrypoint")?,
            cmd: json::texts(value, "cmd")?,
            user: json::text(value, "user")?,
            working_dir: json::text(value, "working_dir")?,
            stop_signal: json::text(value, "stop_signal")?,
            labels: json::map(value, "labels")?,
            volumes: json::texts(value, "volumes")?,
            exposed_ports: json::texts(value, "exposed_ports")?,
        })
    }

    fn strings(&self) -> impl Iterator<Item = &String> {
        let lists = [&self.env, &self.entrypoint, &self.cmd, &self.volumes, &self.exposed_ports];
        lists.into_iter().flatten().chain([&self.user, &self.working_dir, &self.stop_signal])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_or_null_is_empty() {
        for text in [
            r#"{}"#,
            r#"{"config":null,"rootfs":null}"#,
            r#"{"config":{"Env":null,"Cmd":null,"Volumes":null,"Labels":null},"rootfs":{"diff_ids":null}}"#,
        ] {
            assert_eq!(parse(text.as_bytes()).unwrap(), (<Config as Default>::default(), Vec::new()), "{text}");
        }
    }

    #[test]
    fn wishes_and_layers() {
        let text = r#"{"architecture":"amd64","os":"linux","config":{"Env":["A=1"],"Entrypoint":["/e"],"Cmd":["c","d"],
            "User":"1:2","WorkingDir":"/w","StopSignal":"SIGINT","Labels":{"k":"v"},"Volumes":{"/data":{}},
            "ExposedPorts":{"80/tcp":{}},"OnBuild":["x"]},"rootfs":{"type":"layers","diff_ids":
            ["sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"]},"history":[{"created_by":"x"}]}"#;
        let (config, layers) = parse(text.as_bytes()).unwrap();
        assert_eq!(layers, [Digest::of(b"")]);
        assert_eq!((config.env, config.entrypoint), (vec!["A=1".to_string()], vec!["/e".to_string()]));
        assert_eq!((config.volumes, config.exposed_ports), (vec!["/data".to_string()], vec!["80/tcp".to_string()]));
        assert_eq!((config.user.as_str(), config.labels["k"].as_str()), ("1:2", "v"));
    }

    #[test]
    fn what_cannot_be_is_refused() {
        for (text, word) in [
            (r#"{"os":"windows"}"#, "windows"),
            (r#"{"config":{"Env":"A=1"}}"#, "Env is not a list"),
            (r#"{"config":{"Cmd":[1]}}"#, "Cmd is not a list of strings"),
            (r#"{"config":{"User":0}}"#, "User is not a string"),
            (r#"{"config":{"Env":["A=\u0000"]}}"#, "NUL"),
            (r#"{"rootfs":{"diff_ids":["sha512:00"]}}"#, "sha512"),
            (r#"{"config":[]}"#, "configuration"),
            ("{", "configuration"),
            ("\u{0}", "configuration"),
        ] {
            let error = parse(text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(word), "{text}: {error}");
        }
    }
}
