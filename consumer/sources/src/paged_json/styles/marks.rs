//! Values that stand where the next page's URL or cursor would, and mean that there is none.

use serde_json::Value;

/// What stands for the next page, unless it means the end: null, empty, missing, or one of the settings' marks.
pub(super) fn present<'j>(json: Option<&'j str>, marks: &[Value]) -> Option<&'j str> {
    json.filter(|json| !matches!(*json, "null" | "\"\"")).filter(|json| !means_the_end(json, marks))
}

/// Whether it is one of the marks. `0` and `"0"` differ; what comes from a header is a text.
fn means_the_end(json: &str, marks: &[Value]) -> bool {
    if marks.is_empty() {
        return false;
    }
    let Ok(found) = serde_json::from_str::<Value>(json) else { return false };
    marks.iter().any(|mark| *mark == found || same_number(mark, &found))
}

fn same_number(mark: &Value, found: &Value) -> bool {
    matches!((mark.as_f64(), found.as_f64()), (Some(mark), Some(found)) if mark == found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_mark_means_the_end_and_nothing_like_it_does() {
        let marks = [json!(false), json!("null"), json!(0), json!("-1")];
        for end in ["false", r#""null""#, "0", "0.0", r#""-1""#, "null", r#""""#] {
            assert_eq!(present(Some(end), &marks), None, "{end}");
        }
        for more in ["true", r#""0""#, "-1", r#""nul""#, "7", r#""a""#] {
            assert_eq!(present(Some(more), &marks), Some(more), "{more}");
        }
        assert_eq!(present(None, &marks), None);
        assert_eq!(present(Some("0"), &[]), Some("0"));
    }
}
