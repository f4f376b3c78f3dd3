//! One call: its id, its times and its JSON, all computed from a seed and its number.

use super::options::TenantOptions;
use super::timestamp::timestamp;
use std::fmt::Write;
use uuid::Uuid;

const AGENTS: [&str; 5] = ["Reception", "Después de horas", "Schade-Aufnahme", "Intake \u{2014} new", "受付"];
const VOICES: [&str; 4] = ["Mark", "Emily-English", "Tanya-English", "Aaron-English"];
const LANGUAGES: [&str; 4] = ["en", "es", "de-DE", "ja"];
const MEDIA: [&str; 4] = [
    r#"{"webRtc":{}}"#,
    r#"{"twilio":{"outgoing":null}}"#,
    r#"{"sip":{"incoming":{}}}"#,
    r#"{"serverWebSocket":{"inputSampleRate":16000}}"#,
];
const END_REASONS: [&str; 5] = ["hangup", "agent_hangup", "timeout", "unjoined", "connection_error"];
const TOPICS: [&str; 6] = [
    "a new quote",
    "a claim",
    "a billing question",
    "a cancelled policy",
    "an address change",
    "a wrong number",
];
const PROMPT: &str = "You are a friendly agent of an insurance agency. Greet the caller, find out what they need, \
                      and never promise cover. Read numbers back digit by digit. \\\"Hold on\\\" is not an answer.\\n";

/// Everything that is the same for all calls of a tenant.
#[derive(Clone, Debug)]
pub(super) struct Style {
    seed: u64,
    first_us: i64,
    step_us: i64,
    prompt: String,
}

/// What a test has done to one call.
#[derive(Clone, Debug, Default)]
pub(super) struct Change {
    pub(super) revision: u32,
    pub(super) running: bool,
    pub(super) raw: Option<String>,
}

impl Style {
    pub(super) fn new(options: &TenantOptions) -> Self {
        // The other fields take about 850 bytes.
        let wanted = options.record_bytes.saturating_sub(850);
        let prompt = PROMPT.repeat(wanted / PROMPT.len() + usize::from(wanted > 0));
        Self {
            seed: options.seed,
            first_us: options.first.timestamp_micros(),
            step_us: options.every.num_microseconds().unwrap_or(i64::MAX).max(1),
            prompt,
        }
    }

    /// When the generated call `ordinal` was created: somewhere inside its own interval, so that the order of
    /// ordinals is the order of times.
    pub(super) fn created_us(&self, ordinal: u64) -> i64 {
        let step = self.step_us.cast_unsigned();
        let jitter = mix(self.seed ^ mix(ordinal)) % step;
        self.first_us + (ordinal * step + jitter).cast_signed()
    }

    /// The first ordinal whose time is not before `time_us`, as if there were no end to them.
    pub(super) fn first_not_before(&self, time_us: i64) -> u64 {
        let Ok(elapsed) = u64::try_from(time_us.saturating_sub(self.first_us)) else { return 0 };
        let candidate = elapsed / self.step_us.cast_unsigned();
        candidate + u64::from(self.created_us(candidate) < time_us)
    }

    pub(super) fn id(&self, ordinal: u64) -> Uuid {
        let low = (ordinal.wrapping_mul(SCATTER) ^ self.seed) & LOW_BITS;
        Uuid::from_u64_pair(mix(self.seed ^ ordinal) & VERSION_MASK | VERSION, VARIANT | low)
    }

    /// The inverse of [`Style::id`], or `None` for another tenant's id.
    pub(super) fn ordinal(&self, id: Uuid) -> Option<u64> {
        let (_, low) = id.as_u64_pair();
        let ordinal = ((low ^ self.seed) & LOW_BITS).wrapping_mul(GATHER) & LOW_BITS;
        (self.id(ordinal) == id).then_some(ordinal)
    }

    /// The call's JSON, exactly as every page and the single call serve it.
    pub(super) fn render(&self, ordinal: u64, created_us: i64, change: Option<&Change>, out: &mut String) {
        let revision = match change {
            Some(Change { raw: Some(raw), .. }) => return out.push_str(raw),
            Some(change) => change.revision,
            None => 0,
        };
        let running = change.is_some_and(|change| change.running);
        let mut dice = Dice(self.seed ^ mix(ordinal).rotate_left(17));
        let agent = dice.roll(AGENTS.len());
        let topic = TOPICS[dice.roll(TOPICS.len())];
        let seconds = dice.roll(900);
        let joined_us = created_us + 2_000_000 + number(dice.roll(999_999));

        out.push_str(r#"{"callId":""#);
        uuid(out, self.id(ordinal));
        out.push_str(r#"","clientVersion":null,"created":""#);
        timestamp(out, created_us);
        out.push_str(r#"","joined":""#);
        timestamp(out, joined_us);
        if running {
            out.push_str(r#"","ended":null,"endReason":null,"billedDuration":null,"billingStatus":"BILLING_STATUS_PENDING"#);
        } else {
            out.push_str(r#"","ended":""#);
            timestamp(out, joined_us + number(seconds) * 1_000_000 + number(dice.roll(999_999)));
            push(
                out,
                &[r#"","endReason":""#, END_REASONS[dice.roll(END_REASONS.len())], r#"","billedDuration":""#],
            );
            // Writing to a String cannot fail.
            let _infallible = write!(out, r#"{seconds}s","billingStatus":"BILLING_STATUS_BILLED"#);
        }
        out.push_str(r#"","agent":{"agentId":""#);
        uuid(out, Uuid::from_u64_pair(mix(self.seed) & VERSION_MASK | VERSION, VARIANT | number_u64(agent)));
        push(out, &[r#"","name":""#, AGENTS[agent], r#""},"shortSummary":"About "#, topic, "."]);
        push(out, &[r#"","summary":"The caller asked about "#, topic, ", and the agent answered"]);
        if revision > 0 {
            let _infallible = write!(out, "; edited {revision} times");
        }
        push(
            out,
            &[r#".","medium":"#, MEDIA[dice.roll(MEDIA.len())], r#","model":"fixie-ai/ultravox","voice":""#],
        );
        push(
            out,
            &[
                VOICES[dice.roll(VOICES.len())],
                r#"","languageHint":""#,
                LANGUAGES[dice.roll(LANGUAGES.len())],
            ],
        );
        push(out, &[r#"","recordingEnabled":"#, if dice.roll(3) == 0 { "true" } else { "false" }]);
        let _infallible = write!(out, r#","temperature":0.{},"metadata":{{"ticket":"T-"#, dice.roll(10));
        let _infallible = write!(out, r#"{ordinal}","priority":"{}"}}"#, dice.roll(4));
        push(
            out,
            &[
                r#","firstSpeaker":"FIRST_SPEAKER_AGENT","errorCount":0,"systemPrompt":""#,
                &self.prompt,
                "\"}",
            ],
        );
    }
}

// An odd number and its inverse modulo 2^62: ordinals scattered over the free bits of a version 4 UUID, so that
// ids look random, sort randomly, and still lead back to their call.
const SCATTER: u64 = 0x2545_F491_4F6C_DD1D;
const GATHER: u64 = inverse(SCATTER);
const LOW_BITS: u64 = (1 << 62) - 1;
const VARIANT: u64 = 1 << 63;
const VERSION: u64 = 0x4000;
const VERSION_MASK: u64 = !0xF000;

const fn inverse(odd: u64) -> u64 {
    // Newton's iteration doubles the number of right bits each time, from three.
    let mut inverse = odd;
    let mut turn = 0;
    while turn < 5 {
        inverse = inverse.wrapping_mul(2_u64.wrapping_sub(odd.wrapping_mul(inverse)));
        turn += 1;
    }
    inverse
}

/// The finalizer of SplitMix64: every input bit changes half of the output.
fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let value = (value ^ value >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let value = (value ^ value >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    value ^ value >> 31
}

struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = mix(self.0);
        usize::try_from(self.0 % number_u64(sides)).unwrap_or(0)
    }
}

fn number_u64(small: usize) -> u64 {
    u64::try_from(small).unwrap_or(u64::MAX)
}

fn number(small: usize) -> i64 {
    i64::try_from(small).unwrap_or(i64::MAX)
}

fn push(out: &mut String, parts: &[&str]) {
    for part in parts {
        out.push_str(part);
    }
}

fn uuid(out: &mut String, id: Uuid) {
    out.push_str(id.hyphenated().encode_lower(&mut Uuid::encode_buffer()));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn style() -> Style {
        Style::new(&TenantOptions::new("a", 10))
    }

    #[test]
    fn ids_lead_back_to_their_call_and_to_no_other_tenants() {
        let other = Style::new(&TenantOptions::new("b", 10));
        for ordinal in (0..1000).chain([1 << 40]) {
            let id = style().id(ordinal);
            assert_eq!(id.get_version_num(), 4);
            assert_eq!(style().ordinal(id), Some(ordinal));
            assert_eq!(other.ordinal(id), None);
        }
    }

    #[test]
    fn times_rise_and_can_be_searched() {
        let style = style();
        for ordinal in 0..1000 {
            let created = style.created_us(ordinal);
            assert!(created < style.created_us(ordinal + 1));
            assert_eq!(style.first_not_before(created), ordinal);
            assert_eq!(style.first_not_before(created + 1), ordinal + 1);
        }
        assert_eq!(style.first_not_before(0), 0);
    }

    #[test]
    fn a_call_is_json_of_about_the_wanted_size() {
        for (wanted, bytes) in [(1600, 1300..2000), (10_000, 9500..10_500), (0, 500..950)] {
            let options = TenantOptions { record_bytes: wanted, ..TenantOptions::new("a", 10) };
            let style = Style::new(&options);
            for (ordinal, running) in [(3, false), (4, true)] {
                let change = Change { running, revision: 2, raw: None };
                let mut text = String::new();
                style.render(ordinal, style.created_us(ordinal), Some(&change), &mut text);
                assert!(bytes.contains(&text.len()), "{} bytes for {wanted}", text.len());
                let call: serde_json::Value = serde_json::from_str(&text).unwrap();
                assert_eq!(call["callId"], style.id(ordinal).to_string());
                assert_eq!(call["ended"].is_null(), running);
                assert!(call["summary"].as_str().unwrap().ends_with("; edited 2 times."));
                assert!(running || call["billedDuration"].as_str().unwrap().ends_with('s'));
            }
        }
    }
}
