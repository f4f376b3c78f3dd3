//! Reads bodies that come compressed: gzip, deflate, br and zstd, whatever was asked for, and in several layers.

use std::io::{ErrorKind, Read};

use flate2::read::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use reqwest::header::{CONTENT_ENCODING, HeaderMap};
use ruzstd::decoding::StreamingDecoder;

use super::Allowance;
use crate::FetchError;
use crate::error::quote;

/// What is asked for.
pub(super) const ACCEPTED: &str = "gzip, deflate, br, zstd";

/// How much is decoded before others have their turn.
const STEP: usize = 64 << 10;
/// More layers than this are no mistake of a proxy.
const MOST_LAYERS: usize = 4;
const GZIP: &[u8] = &[0x1f, 0x8b];
const ZSTD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Encoding {
    Gzip,
    Deflate,
    Brotli,
    Zstd,
}

/// How a body is encoded, as its headers say, the outermost layer last; and what of that is unknown.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Layers {
    known: Vec<Encoding>,
    pub(super) unknown: Option<String>,
}

impl Layers {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let mut layers = Self::default();
        for value in headers.get_all(CONTENT_ENCODING) {
            for name in String::from_utf8_lossy(value.as_bytes()).split(',') {
                match name.trim().to_ascii_lowercase().as_str() {
                    "" | "identity" | "none" => {}
                    "gzip" | "x-gzip" => layers.known.push(Encoding::Gzip),
                    "deflate" => layers.known.push(Encoding::Deflate),
                    "br" => layers.known.push(Encoding::Brotli),
                    "zstd" => layers.known.push(Encoding::Zstd),
                    other => layers.unknown = Some(quote(other)),
                }
            }
        }
        layers
    }
}

/// The decoded body. What is announced as compressed and is not, is left as it is; what is compressed without a word is
/// recognised by how it begins.
pub(super) async fn decode(
    mut body: Vec<u8>,
    mut layers: Layers,
    allowance: &Allowance,
) -> Result<Vec<u8>, FetchError> {
    for _ in 0..MOST_LAYERS {
        let Some(encoding) =
            layers.known.pop().filter(|encoding| encoding.fits(&body)).or_else(|| sniffed(&body))
        else {
            if layers.known.is_empty() {
                return Ok(body);
            }
            continue;
        };
        allowance.give_back(body.len());
        body = one_layer(&body, encoding, allowance).await?;
    }
    Ok(body)
}

/// The beginning of a body of which not all has come, as far as it can be decoded.
pub(super) fn beginning(body: &[u8], mut layers: Layers, most: usize) -> Vec<u8> {
    let mut body = body.to_vec();
    while let Some(encoding) = layers.known.pop() {
        let mut decoded = Vec::new();
        let most = u64::try_from(most).unwrap_or(u64::MAX);
        // What was decoded before an error is there all the same.
        let read = match encoding {
            Encoding::Gzip => MultiGzDecoder::new(&*body).take(most).read_to_end(&mut decoded),
            Encoding::Deflate if is_zlib(&body) => {
                ZlibDecoder::new(&*body).take(most).read_to_end(&mut decoded)
            }
            Encoding::Deflate => DeflateDecoder::new(&*body).take(most).read_to_end(&mut decoded),
            Encoding::Brotli => {
                brotli_decompressor::Decompressor::new(&*body, STEP).take(most).read_to_end(&mut decoded)
            }
            Encoding::Zstd => match StreamingDecoder::new(&*body) {
                Ok(frame) => frame.take(most).read_to_end(&mut decoded),
                Err(_no_frame) => return body,
            },
        };
        if read.is_err() && decoded.is_empty() {
            return body;
        }
        body = decoded;
    }
    body
}

/// What a body is encoded as that does not say so.
fn sniffed(body: &[u8]) -> Option<Encoding> {
    if body.starts_with(GZIP) {
        Some(Encoding::Gzip)
    } else if body.starts_with(ZSTD) {
        Some(Encoding::Zstd)
    } else {
        None
    }
}

impl Encoding {
    /// Whether a body can be encoded so.
    fn fits(self, body: &[u8]) -> bool {
        match self {
            Self::Gzip => body.starts_with(GZIP),
            Self::Zstd => body.starts_with(ZSTD),
            // These have no sign of their own; but JSON is no sensible beginning of either.
            Self::Deflate | Self::Brotli => {
                !body.is_empty() && serde_json::from_slice::<serde::de::IgnoredAny>(body).is_err()
            }
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
            Self::Brotli => "br",
            Self::Zstd => "zstd",
        }
    }
}

async fn one_layer(body: &[u8], encoding: Encoding, allowance: &Allowance) -> Result<Vec<u8>, FetchError> {
    match encoding {
        Encoding::Gzip => all(MultiGzDecoder::new(body), encoding, allowance).await,
        Encoding::Deflate if is_zlib(body) => all(ZlibDecoder::new(body), encoding, allowance).await,
        Encoding::Deflate => all(DeflateDecoder::new(body), encoding, allowance).await,
        Encoding::Brotli => {
            all(brotli_decompressor::Decompressor::new(Whole(body), STEP), encoding, allowance).await
        }
        Encoding::Zstd => {
            let (mut rest, mut decoded) = (body, Vec::new());
            // Frames may follow one another.
            while !rest.is_empty() {
                let frame =
                    StreamingDecoder::new(&mut rest).map_err(|error| wrong(encoding, &error.to_string()))?;
                decoded.append(&mut all(frame, encoding, allowance).await?);
            }
            Ok(decoded)
        }
    }
}

/// Whether it is deflate as the standard has it, in zlib's wrapping. Some servers send it bare.
fn is_zlib(body: &[u8]) -> bool {
    match body {
        [method, flags, ..] => {
            method & 0x0f == 8 && (u16::from(*method) << 8 | u16::from(*flags)).is_multiple_of(31)
        }
        _ => false,
    }
}

/// A body that says so when more of it is wanted than there is: the decoder of brotli takes a cut body for a wrong one.
struct Whole<'b>(&'b [u8]);

impl Read for Whole<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.0.is_empty() { Err(ErrorKind::UnexpectedEof.into()) } else { self.0.read(buffer) }
    }
}

async fn all(
    mut decoder: impl Read,
    encoding: Encoding,
    allowance: &Allowance,
) -> Result<Vec<u8>, FetchError> {
    let (mut decoded, mut step) = (Vec::new(), vec![0; STEP]);
    loop {
        match decoder.read(&mut step) {
            Ok(0) => return Ok(decoded),
            Ok(read) => {
                allowance.take(read).await?;
                decoded.extend_from_slice(step.get(..read).unwrap_or_default());
                tokio::task::yield_now().await;
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
                return Err(FetchError::transient(format!(
                    "the answer's body broke off within its {}",
                    encoding.name()
                )));
            }
            Err(error) => return Err(wrong(encoding, &error.to_string())),
        }
    }
}

fn wrong(encoding: Encoding, why: &str) -> FetchError {
    let cause = format!(
        "the answer says that its body is encoded as {}, and it cannot be decoded: {why}",
        encoding.name()
    );
    FetchError::Unreadable { cause: protocol::short::short(cause), body: None }
}
