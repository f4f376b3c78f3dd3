//! The brokers that the configured URL names: one, or several members of a cluster.

use super::AmqpError;
use configuration::addresses;
use lapin::uri::AMQPUri;

/// The addresses of a list, read.
///
/// # Errors
/// One of them is no URL of AMQP.
pub(super) fn parse(list: &str) -> Result<Vec<AMQPUri>, AmqpError> {
    addresses(list)
        .into_iter()
        .map(|address| {
            // Some of the parser's messages repeat the whole URL.
            address
                .parse()
                .map_err(|reason: String| AmqpError::Url { reason: reason.replace(address, "…") })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_cannot_be_read_is_not_repeated() {
        let error = parse("amqp://a,amqp://me:s3cret@b:port").expect_err("is no port").to_string();
        assert!(!error.contains("s3cret"), "{error}");
    }
}
