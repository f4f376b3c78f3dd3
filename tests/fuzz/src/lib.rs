//! Fuzz tests: properties of whatever reads what strangers write, tried on inputs that are valid but for some mutations.
//!
//! They are ordinary tests, beside the code that they are about, in modules named `fuzz`. `make test` tries a few hundred
//! inputs each, `make fuzz` a million: [`run`] reads how many from `FUZZ_CASES`, and where to begin from `FUZZ_SEED`.
//! Coverage does not guide them; the valid documents, the mutations and the list of nasty values do.

mod mutate;
mod nasty;

pub use mutate::{Input, document, text};
pub use nasty::{JSON, TEXTS};
pub use proptest;

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestCaseResult, TestRng, TestRunner};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// How many inputs are tried where `FUZZ_CASES` does not say.
const FEW: u32 = 300;
/// How much more memory the process may ever have had at the end than at the beginning, in KiB. No input here is larger
/// than 300 KiB.
const MOST_GROWTH: u64 = 192 << 10;

/// Tries `property` on many inputs. Panics with the smallest input found for which it does not hold, and how to see that
/// again; and if the process has grown by more than the inputs can explain.
///
/// # Panics
/// When the property does not hold: it is the assertion of a test.
#[expect(
    clippy::panic,
    clippy::print_stderr,
    reason = "it is the assertion of a test, and says what was tried"
)]
pub fn run<S: Strategy>(surface: &str, inputs: S, property: impl Fn(S::Value) -> TestCaseResult) {
    let cases = number("FUZZ_CASES").and_then(|cases| u32::try_from(cases).ok()).unwrap_or(FEW);
    let seed = number("FUZZ_SEED").unwrap_or_else(from_the_clock);
    let config = Config { cases, failure_persistence: None, max_shrink_iters: 50_000, ..Config::default() };
    let (began, before) = (Instant::now(), peak_kib());
    if let Err(found) = TestRunner::new_with_rng(config, rng(seed)).run(&inputs, property) {
        panic!("{surface}: {found}\nagain: FUZZ_SEED={seed} FUZZ_CASES={cases}");
    }
    let (seconds, after) = (began.elapsed().as_secs_f64(), peak_kib());
    eprintln!(
        "fuzz: {surface}: {cases} inputs from seed {seed} in {seconds:.1} s, at most {} MiB of memory",
        after >> 10
    );
    assert!(
        after.saturating_sub(before) <= MOST_GROWTH,
        "{surface}: the process has grown from {before} to {after} KiB; FUZZ_SEED={seed} FUZZ_CASES={cases}"
    );
}

/// So many inputs, for a property that looks at many at a time.
#[expect(clippy::print_stderr, reason = "it says how to see them again")]
pub fn sample<S: Strategy>(inputs: &S, count: usize) -> Vec<S::Value> {
    let seed = number("FUZZ_SEED").unwrap_or_else(from_the_clock);
    eprintln!("fuzz: {count} inputs from FUZZ_SEED={seed}");
    let mut runner = TestRunner::new_with_rng(Config::default(), rng(seed));
    // A tree that cannot be made is a filter's doing, and these strategies have none.
    (0..count).filter_map(|_| Some(inputs.new_tree(&mut runner).ok()?.current())).collect()
}

fn rng(seed: u64) -> TestRng {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    TestRng::from_seed(RngAlgorithm::ChaCha, &bytes)
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn from_the_clock() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| u64::from(since.subsec_nanos()) ^ since.as_secs())
}

/// The most memory that this process has had at a time, in KiB.
fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    peak.and_then(|peak| peak.trim().trim_end_matches(" kB").parse().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::cell::Cell;

    #[test]
    fn the_peak_is_known() {
        assert!(peak_kib() > 1000, "{}", peak_kib());
    }

    #[test]
    #[should_panic(expected = "FUZZ_SEED=")]
    fn a_property_that_does_not_hold_is_found() {
        run("a property that does not hold", document(&[r#"{"a": 1}"#]), |input| {
            prop_assert!(!input.windows(6).any(|six| six == b"\\u0000"), "a NUL");
            Ok(())
        });
    }

    #[test]
    fn inputs_are_valid_now_and_then_and_often_not() {
        let (valid, invalid) = (Cell::new(0), Cell::new(0));
        run("inputs", document(&[r#"{"a": [1, "x", null], "b": {"c": true}}"#]), |input| {
            let which = if input.starts_with(b"{") && input.ends_with(b"}") { &valid } else { &invalid };
            which.set(which.get() + 1);
            Ok(())
        });
        assert!(valid.get() > 50 && invalid.get() > 10, "{} {}", valid.get(), invalid.get());
    }
}
