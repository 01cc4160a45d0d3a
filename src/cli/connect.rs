//! From the command line to a client: which addresses, which deadlines.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use quorate_client::{Builder, Client};

use super::args::{Common, Escapes};
use super::output::{Failed, unescape};
use crate::config::Config;

/// Where a client looks when nothing says otherwise.
const DEFAULT_ENDPOINT: &str = "127.0.0.1:7101";

/// The addresses to try: `--endpoints` (or its variable), else those in the configuration,
/// else the default.
///
/// # Errors
/// When a configuration is there and unusable.
pub fn endpoints(common: &Common) -> Result<Vec<String>, Failed> {
    if !common.endpoints.is_empty() {
        return Ok(common.endpoints.clone());
    }
    if !common.config.exists() {
        return Ok(vec![DEFAULT_ENDPOINT.to_owned()]);
    }
    let config = load(common)?;
    Ok(config.nodes.iter().map(|node| node.client_advertise.clone()).collect())
}

/// The configuration, for a client: its warnings are the nodes' business.
///
/// # Errors
/// The whole report of what is wrong with it.
pub fn load(common: &Common) -> Result<Config, Failed> {
    let env: BTreeMap<String, String> = std::env::vars().collect();
    match Config::load(&common.config, &env, &common.set, None) {
        Ok((config, _)) => Ok(config),
        Err(errors) => Err(Failed::new(super::output::exit::CONFIG, "config", errors.to_string())),
    }
}

/// A client's settings as the command line asks for them.
///
/// # Errors
/// As [`endpoints`].
pub fn builder(common: &Common) -> Result<Builder, Failed> {
    let name = concat!("quorate-cli/", env!("CARGO_PKG_VERSION"));
    Ok(Client::builder()
        .endpoints(endpoints(common)?)
        .name(name)
        .deadline(Duration::from_millis(common.timeout_ms)))
}

/// Runs a client's work on a runtime of its own.
///
/// # Errors
/// The work's own.
pub fn run<T>(work: impl Future<Output = Result<T, Failed>>) -> Result<T, Failed> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failed::file("the runtime", &error))?;
    runtime.block_on(work)
}

/// The bytes of a key.
///
/// # Errors
/// When an escape is wrong.
pub fn key(text: &str, escapes: &Escapes) -> Result<Bytes, Failed> {
    word(text, escapes)
}

/// The bytes of a value: a word, `@FILE`, or `-` and nothing for standard input.
///
/// # Errors
/// When an escape is wrong, or the file cannot be read.
pub fn value(text: Option<&str>, escapes: &Escapes) -> Result<Bytes, Failed> {
    match text {
        None | Some("-") => {
            let mut bytes = Vec::new();
            std::io::Read::read_to_end(&mut std::io::stdin().lock(), &mut bytes)
                .map_err(|error| Failed::file("standard input", &error))?;
            Ok(bytes.into())
        }
        Some(text) => match text.strip_prefix('@') {
            Some(path) => {
                std::fs::read(path).map(Bytes::from).map_err(|error| Failed::file(path, &error))
            }
            None => word(text, escapes),
        },
    }
}

fn word(text: &str, escapes: &Escapes) -> Result<Bytes, Failed> {
    if escapes.escaped {
        return unescape(text).map(Bytes::from);
    }
    Ok(Bytes::copy_from_slice(text.as_bytes()))
}
