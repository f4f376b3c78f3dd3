//! The brokers that the configured URL names: one, or several members of a cluster.

use super::AmqpError;
use lapin::uri::AMQPUri;

/// Between two addresses of the list. A password may hold a comma, so the scheme of the next address belongs to it.
const NEXT: [&str; 2] = [",amqp://", ",amqps://"];

/// The addresses of a list, as they are written: `amqp://a,amqp://b`.
pub(super) fn split(list: &str) -> Vec<&str> {
    let mut addresses = Vec::new();
    let mut rest = list;
    while let Some(comma) = NEXT.iter().filter_map(|next| rest.find(next)).min() {
        addresses.push(rest[..comma].trim());
        rest = &rest[comma + 1..];
    }
    addresses.push(rest.trim());
    addresses
}

/// The list with every password blanked out.
pub(super) fn shown(list: &str) -> String {
    let blanked = |mut url: url::Url| {
        let ours = matches!(url.scheme(), "amqp" | "amqps");
        let hidden = url.password().is_none() || url.set_password(Some("***")).is_ok();
        (ours && hidden).then(|| url.to_string())
    };
    let unreadable = || "(a URL that cannot be read)".to_owned();
    let one = |address: &str| url::Url::parse(address).ok().and_then(blanked).unwrap_or_else(unreadable);
    split(list).into_iter().map(one).collect::<Vec<_>>().join(",")
}

/// The addresses of a list, read.
///
/// # Errors
/// One of them is no URL of AMQP.
pub(super) fn parse(list: &str) -> Result<Vec<AMQPUri>, AmqpError> {
    split(list)
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
    fn a_list_is_split_where_the_next_address_begins() {
        assert_eq!(split("amqp://one"), ["amqp://one"]);
        assert_eq!(split("amqp://a:1,amqps://b,amqp://c"), ["amqp://a:1", "amqps://b", "amqp://c"]);
        assert_eq!(split("amqp://me:a,b@one,amqp://two"), ["amqp://me:a,b@one", "amqp://two"]);
    }

    #[test]
    fn no_password_is_shown() {
        assert_eq!(shown("amqp://me:s3cret@broker:5672/%2f"), "amqp://me:***@broker:5672/%2f");
        assert_eq!(shown("amqp://me:s3cret@a,amqp://me:s4cret@b/x"), "amqp://me:***@a,amqp://me:***@b/x");
        assert_eq!(shown("me:s3cret at broker"), "(a URL that cannot be read)");
        assert!(!shown("amqp://me:s3,cret@a,amqps://me:s3,cret@b").contains("cret"));
    }

    #[test]
    fn an_address_that_cannot_be_read_is_not_repeated() {
        let error = parse("amqp://a,amqp://me:s3cret@b:port").expect_err("is no port").to_string();
        assert!(!error.contains("s3cret"), "{error}");
    }
}
