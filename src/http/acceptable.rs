//! What the client takes: Accept and its like.

use http::{HeaderMap, HeaderName, StatusCode, header};

use super::refusal::Refusal;

/// Checks that the client takes what we send: XML in UTF-8, as it is (RFC 9110 §12.5; 406 in DSP0200).
pub(super) fn acceptable(headers: &HeaderMap) -> Result<(), Refusal> {
    const XML: [[&str; 3]; 2] =
        [["application/xml", "application/*", "*/*"], ["text/xml", "text/*", "*/*"]];
    let refused = |detail: &str| Err(Refusal::new(StatusCode::NOT_ACCEPTABLE, detail));
    let takes_xml = |names: &[&str; 3]| preference(headers, &header::ACCEPT, names);
    if headers.contains_key(header::ACCEPT) && !XML.iter().any(|it| takes_xml(it) == Some(true)) {
        return refused("answers are application/xml");
    }
    if headers.contains_key(header::ACCEPT_CHARSET)
        && preference(headers, &header::ACCEPT_CHARSET, &["utf-8", "*"]) != Some(true)
    {
        return refused("answers are in UTF-8");
    }
    if preference(headers, &header::ACCEPT_ENCODING, &["identity", "*"]) == Some(false) {
        return refused("answers are not encoded");
    }
    if headers.contains_key(header::ACCEPT_RANGES) {
        return refused("answers are sent whole");
    }
    Ok(())
}

/// What a header such as Accept says of something that goes by these names, the most specific first:
/// whether it is taken, `None` if nothing is said.
fn preference(headers: &HeaderMap, header: &HeaderName, names: &[&str]) -> Option<bool> {
    let said = |name: &str| {
        let values = headers.get_all(header).iter();
        let ranges = values.flat_map(|value| value.to_str().unwrap_or_default().split(','));
        ranges
            .filter_map(|range| {
                let mut fields = range.split(';').map(str::trim);
                if !fields.next()?.eq_ignore_ascii_case(name) {
                    return None;
                }
                let weight = fields.find_map(|field| {
                    let (key, value) = field.split_once('=')?;
                    key.trim().eq_ignore_ascii_case("q").then(|| value.trim().parse::<f32>())
                });
                Some(!matches!(weight, Some(Ok(0.0))))
            })
            .next()
    };
    names.iter().find_map(|name| said(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(headers: &[(&'static str, &'static str)], expected: bool) {
        let headers = headers.iter().map(|(name, value)| {
            let name: HeaderName = name.parse().expect("a name");
            (name, value.parse().expect("a value"))
        });
        let result = acceptable(&headers.collect());
        assert_eq!(result.is_ok(), expected, "{result:?}");
    }

    #[test]
    fn what_clients_send_is_taken() {
        check(&[], true);
        check(&[("accept", "*/*"), ("accept-encoding", "gzip, deflate")], true);
        check(&[("accept", "text/html, text/xml, application/xml")], true);
        check(&[("accept", "Application/XML;q=0.1")], true);
        check(&[("accept", "text/html"), ("accept", "application/*")], true);
        check(&[("accept", "text/*;q=0.5, application/xml;q=0")], true);
        check(&[("accept-charset", "iso-8859-1, UTF-8;q=0.7")], true);
        check(&[("accept-charset", "*")], true);
        check(&[("accept-encoding", "*;q=0, identity")], true);
    }

    #[test]
    fn who_wants_something_else_is_refused() {
        check(&[("accept", "text/html")], false);
        check(&[("accept", "text/xml;q=0, application/xml; Q=0.0")], false);
        check(&[("accept", "*/*;q=0")], false);
        check(&[("accept", "*/*, application/*;q=0, text/*;q=0")], false);
        check(&[("accept-charset", "iso-8859-1")], false);
        check(&[("accept-charset", "*, utf-8;q=0")], false);
        check(&[("accept-encoding", "gzip, identity;q=0")], false);
        check(&[("accept-encoding", "gzip, *;q=0")], false);
        check(&[("accept-ranges", "bytes")], false);
    }
}
