//! Where the database is, as `database.url` says it: one host, or several of which one can be written.

use sqlx::Error;
use sqlx::postgres::PgConnectOptions;
use std::str::FromStr;
use url::Url;

/// How libpq is told that it needs a server that can be written.
const ATTRIBUTES: &str = "target_session_attrs";

/// The places that an address names, in its order.
pub(super) fn parse(url: &str) -> Result<Vec<PgConnectOptions>, Error> {
    let split = url.split_once("://").ok_or_else(|| wrong("it has no scheme"))?;
    let (scheme, rest) = split;
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, tail) = rest.split_at(end);
    let (user, hosts) = authority.rsplit_once('@').map_or(("", authority), |(_, hosts)| {
        (authority.get(..=authority.len() - hosts.len() - 1).unwrap_or_default(), hosts)
    });
    if user.matches('@').count() > 1 {
        return Err(wrong(
            "every host has the same user and password; write postgres://user:password@host1,host2/database",
        ));
    }
    hosts.split(',').map(|host| options(&format!("{scheme}://{user}{host}{tail}"))).collect()
}

fn options(url: &str) -> Result<PgConnectOptions, Error> {
    let mut parsed = Url::parse(url).map_err(Error::config)?;
    let pairs: Vec<(String, String)> = parsed.query_pairs().into_owned().collect();
    let (attributes, others): (Vec<_>, Vec<_>) = pairs.into_iter().partition(|(name, _)| name == ATTRIBUTES);
    if let Some((_, wanted)) =
        attributes.iter().find(|(_, it)| !matches!(&**it, "any" | "read-write" | "primary"))
    {
        return Err(wrong(&format!(
            "{ATTRIBUTES}={wanted} asks for a server that cannot be written; this program writes"
        )));
    }
    if !attributes.is_empty() {
        parsed.set_query(None);
        if !others.is_empty() {
            parsed.query_pairs_mut().extend_pairs(others);
        }
    }
    PgConnectOptions::from_str(parsed.as_str())
}

fn wrong(why: &str) -> Error {
    Error::Configuration(why.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(url: &str) -> Vec<(String, u16)> {
        let places = parse(url).unwrap();
        places.iter().map(|place| (place.get_host().to_owned(), place.get_port())).collect()
    }

    #[test]
    fn one_host_is_one_place() {
        assert_eq!(places("postgres://u:p@h:5433/db?sslmode=disable"), [("h".to_owned(), 5433)]);
        assert_eq!(places("postgres:///db?host=/run/postgresql").len(), 1);
    }

    #[test]
    fn several_hosts_share_what_is_said_of_all() {
        let url =
            "postgres://u:p%40x@h1,h2:5433,[::1]:5434/db?target_session_attrs=read-write&sslmode=disable";
        let expected =
            [("h1", 5432), ("h2", 5433), ("[::1]", 5434)].map(|(host, port)| (host.to_owned(), port));
        assert_eq!(places(url), expected);
        for place in parse(url).unwrap() {
            assert_eq!((place.get_username(), place.get_database()), ("u", Some("db")));
        }
    }

    #[test]
    fn what_cannot_be_meant_is_refused_without_its_passwords() {
        for (url, why) in [
            ("postgres://a:s3cret@h1,b:s3cret@h2/db", "same user and password"),
            ("postgres://a:s3cret@h1,h2/db?target_session_attrs=standby", "this program writes"),
            ("h1,h2", "no scheme"),
        ] {
            let said = parse(url).unwrap_err().to_string();
            assert!(said.contains(why) && !said.contains("s3cret"), "{said}");
        }
    }
}
