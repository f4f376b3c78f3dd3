//! `contract`: prints what is published about the messages. Needs no services and no configuration.

use crate::failure::Failure;
use crate::output::Output;
use protocol::contract::{Message, asyncapi, documents, schema};
use std::path::Path;

pub(crate) fn print(output: Output, message: Option<&str>, write: Option<&Path>) -> Result<(), Failure> {
    if let Some(folder) = write {
        std::fs::create_dir_all(folder)?;
        for (name, document) in documents() {
            std::fs::write(folder.join(&name), lines(&document)? + "\n")?;
            output.line(name)?;
        }
        return Ok(());
    }
    let document = match message {
        None => asyncapi(),
        Some(name) => {
            let known = || Message::ALL.map(Message::name).join(", ");
            let message =
                Message::ALL.into_iter().find(|message| message.name() == name).ok_or_else(|| {
                    Failure::Usage(format!("there is no message {name:?}; there are {}", known()))
                })?;
            schema(message)
        }
    };
    if output.is_json() {
        return output.json(&document);
    }
    output.json_for_people(&document)
}

fn lines(document: &serde_json::Value) -> Result<String, Failure> {
    Ok(serde_json::to_string_pretty(document).map_err(std::io::Error::from)?)
}
