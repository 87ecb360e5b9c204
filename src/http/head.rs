//! The head of a request: what HTTP, RFC 2774 (M-POST) and DSP0200 §7.2 demand of it.

use http::{
    HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version, header, request::Parts,
};

use super::{Limits, refusal::Refusal};
use crate::{
    cim::{Namespace, ObjectPath},
    xml::{Call, Target},
};

/// The extension that CIM operations are, in the words of RFC 2774.
pub(super) const CIM_EXTENSION: &str = "http://www.dmtf.org/cim/mapping/http/v1.0";

/// A way of sending a request.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Manner {
    /// POST with plain headers.
    Post,
    /// M-POST: the CIM headers are prefixed by this number and a dash.
    Extended(String),
    /// OPTIONS.
    Options,
}

impl Manner {
    /// The number before extension headers.
    pub(super) fn extension(&self) -> Option<&str> {
        match self {
            Self::Extended(number) => Some(number),
            Self::Post | Self::Options => None,
        }
    }
}

/// What the head of a CIM request says about its body.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Announcement {
    method: String,
    object: String,
    protocol_version: Option<String>,
}

/// The host as the client addressed us; `None` only in HTTP/1.0.
pub(super) fn host(parts: &Parts) -> Result<Option<String>, Refusal> {
    let refused = |detail: &str| Refusal::new(StatusCode::BAD_REQUEST, detail);
    let mut values = parts.headers.get_all(header::HOST).iter();
    let host = match (values.next(), values.next()) {
        (Some(_), Some(_)) => return Err(refused("there is more than one Host header")),
        (None, _) if parts.version == Version::HTTP_11 => {
            return Err(refused("HTTP/1.1 demands a Host header"));
        }
        (value, None) => value,
        (None, Some(_)) => None,
    };
    let host = host.map(|host| host.to_str().unwrap_or_default());
    // A target in absolute form overrides the header (RFC 9112 §3.2.2).
    let host = match parts.uri.authority() {
        Some(authority) => Some(authority.as_str()),
        None => host,
    };
    match host {
        None => Ok(None),
        Some(host) if is_host(host) => Ok(Some(host.to_owned())),
        Some(_) => Err(refused("the Host header holds no host")),
    }
}

/// Whether it looks like `host[:port]`. It ends up in paths that we return.
fn is_host(text: &str) -> bool {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:[]%".contains(&byte);
    (1..=270).contains(&text.len()) && text.bytes().all(good)
}

/// How the request is sent, if we know the way.
pub(super) fn manner(parts: &Parts) -> Result<Manner, Refusal> {
    let manner = match parts.method {
        Method::POST => Manner::Post,
        Method::OPTIONS => Manner::Options,
        ref method if method.as_str() == "M-POST" => Manner::Extended(String::new()),
        _ => return Err(Refusal::method_not_allowed()),
    };
    match parts.uri.path() {
        "/cimom" | "/" => Ok(manner),
        "*" if manner == Manner::Options => Ok(manner),
        _ => Err(Refusal::new(StatusCode::NOT_FOUND, "CIM operations are sent to /cimom")),
    }
}

/// Finds the number of the CIM extension in an M-POST request (RFC 2774 §3 ff.).
pub(super) fn extension(parts: &Parts) -> Result<String, Refusal> {
    if parts.version < Version::HTTP_11 {
        return Err(Refusal::new(StatusCode::BAD_REQUEST, "M-POST needs HTTP/1.1"));
    }
    let missing = |detail: &str| Refusal::new(StatusCode::NOT_EXTENDED, detail);
    let mut number = None;
    for value in parts.headers.get_all("man") {
        for declaration in value.to_str().unwrap_or_default().split(',') {
            let mut fields = declaration.split(';').map(str::trim);
            let name = fields.next().unwrap_or_default().trim_matches('"');
            if name != CIM_EXTENSION {
                return Err(missing("an extension that is mandatory is not known"));
            }
            number = fields.find_map(|field| {
                let (key, value) = field.split_once('=')?;
                let value = value.trim();
                let is_number = value.len() == 2 && value.bytes().all(|b| b.is_ascii_digit());
                (key.trim().eq_ignore_ascii_case("ns") && is_number).then(|| value.to_owned())
            });
        }
    }
    let number = number.ok_or_else(|| missing("Man declares no CIM extension with a number"))?;
    if parts.headers.contains_key(format!("{number}-cimoperation")) {
        Ok(number)
    } else {
        Err(missing("there is no CIMOperation header with the number of the extension"))
    }
}

/// Checks that there is a body of a bearable size that is said to be XML.
pub(super) fn body(headers: &HeaderMap, limits: &Limits) -> Result<(), Refusal> {
    let length = headers.get(header::CONTENT_LENGTH);
    if length.is_none() && !headers.contains_key(header::TRANSFER_ENCODING) {
        let detail = "a body needs a Content-Length, or chunks";
        return Err(Refusal::new(StatusCode::LENGTH_REQUIRED, detail));
    }
    let mut coded = headers.get_all(header::TRANSFER_ENCODING).iter();
    if coded.any(|coding| !coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked")) {
        let detail = "bodies are read in chunks, and not encoded in any other way";
        return Err(Refusal::new(StatusCode::NOT_IMPLEMENTED, detail));
    }
    // hyper has read the number already and refused what is none.
    let length = length.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|length| length > limits.body_size.get() as u64) {
        return Err(too_large(limits));
    }
    let mut encoded = headers.get_all(header::CONTENT_ENCODING).iter();
    if encoded.any(|encoding| !encoding.as_bytes().eq_ignore_ascii_case(b"identity")) {
        return Err(unsupported_media("the body must not be encoded"));
    }
    content_type(headers)
}

/// The refusal of a body that is larger than allowed.
pub(super) fn too_large(limits: &Limits) -> Refusal {
    let detail = format!("the body is larger than {} bytes", limits.body_size);
    Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, detail)
}

fn unsupported_media(detail: &str) -> Refusal {
    Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail)
}

fn content_type(headers: &HeaderMap) -> Result<(), Refusal> {
    let mut values = headers.get_all(header::CONTENT_TYPE).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return Err(unsupported_media("one Content-Type header is needed"));
    };
    let mut fields = value.to_str().unwrap_or_default().split(';').map(str::trim);
    let media = fields.next().unwrap_or_default();
    if !["application/xml", "text/xml"].iter().any(|known| media.eq_ignore_ascii_case(known)) {
        return Err(unsupported_media("the body must be application/xml or text/xml"));
    }
    for field in fields {
        let (key, value) = field.split_once('=').unwrap_or((field, ""));
        let value = value.trim().trim_matches(['"', '\'']);
        if key.trim().eq_ignore_ascii_case("charset") && !value.eq_ignore_ascii_case("utf-8") {
            return Err(unsupported_media("the body must be in UTF-8"));
        }
    }
    Ok(())
}

/// Reads the CIM headers of a request.
pub(super) fn announcement(headers: &HeaderMap, manner: &Manner) -> Result<Announcement, Refusal> {
    let named = |name: &'static str| extended(name, manner.extension());
    let operation = single(headers, "CIMOperation", &named("cimoperation"));
    if !operation.is_ok_and(|value| {
        value.is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"MethodCall"))
    }) {
        let detail = "the CIMOperation header must be MethodCall";
        return Err(Refusal::cim(StatusCode::BAD_REQUEST, "unsupported-operation", detail));
    }
    if headers.contains_key(named("cimbatch")) {
        return Err(multiple_requests());
    }
    let demanded = |name: &'static str, key: &'static str| {
        let value = single(headers, name, &named(key))?
            .ok_or_else(|| Refusal::header_mismatch(format!("there is no {name} header")))?;
        decode_percent(value.as_bytes()).filter(|text| !text.is_empty()).ok_or_else(|| {
            Refusal::header_mismatch(format!("the {name} header is empty or cannot be decoded"))
        })
    };
    let protocol_version = single(headers, "CIMProtocolVersion", &named("cimprotocolversion"))?
        .map(|value| value.to_str().unwrap_or_default().trim().to_owned());
    Ok(Announcement {
        method: demanded("CIMMethod", "cimmethod")?,
        object: demanded("CIMObject", "cimobject")?,
        protocol_version,
    })
}

/// The name of a CIM header, with the number of the client's extension before it if it used M-POST.
pub(super) fn extended(name: &'static str, extension: Option<&str>) -> HeaderName {
    match extension {
        None => HeaderName::from_static(name),
        Some(number) => HeaderName::from_bytes(format!("{number}-{name}").as_bytes())
            .expect("two digits, a dash and a header's name are a header's name"),
    }
}

/// The refusal of several requests in one message.
fn multiple_requests() -> Refusal {
    let detail = "one message holds one request";
    Refusal::cim(StatusCode::NOT_IMPLEMENTED, "multiple-requests-unsupported", detail)
}

/// The value of a header that must not be repeated.
fn single<'h>(
    headers: &'h HeaderMap,
    name: &str,
    key: &HeaderName,
) -> Result<Option<&'h HeaderValue>, Refusal> {
    let mut values = headers.get_all(key).iter();
    match (values.next(), values.next()) {
        (value, None) => Ok(value),
        (_, Some(_)) => {
            Err(Refusal::header_mismatch(format!("there is more than one {name} header")))
        }
    }
}

impl Announcement {
    /// Compares with what the body turned out to be. Case does not count, and neither do hosts; of
    /// an instance's keys every client has its own spelling, so they are not compared.
    pub(super) fn compare(&self, call: &Call) -> Result<(), Refusal> {
        if !self.method.trim().eq_ignore_ascii_case(&call.name) {
            return Err(Refusal::header_mismatch(format!(
                "the CIMMethod header says {}, the body {}",
                self.method, call.name
            )));
        }
        let same = match &call.target {
            Target::Namespace(namespace) => {
                self.object.eq_ignore_ascii_case(namespace.as_str())
                    || Namespace::parse(&self.object).is_ok_and(|named| named == *namespace)
            }
            Target::Object(path) => self.names(path),
        };
        if same {
            return Ok(());
        }
        let detail = format!("the CIMObject header says {}, the body another object", self.object);
        Err(Refusal::header_mismatch(detail))
    }

    /// Compares the protocol's version; without the header nothing was said.
    pub(super) fn compare_protocol(&self, of_body: &str) -> Result<(), Refusal> {
        match &self.protocol_version {
            Some(version) if version != of_body => Err(Refusal::header_mismatch(format!(
                "the CIMProtocolVersion header says {version}, the body {of_body}"
            ))),
            _ => Ok(()),
        }
    }

    /// Whether the header names the class and namespace of `path`: `[//host/]namespace:class[.keys]`.
    fn names(&self, path: &ObjectPath) -> bool {
        let text = self.object.split_once("//").map_or(self.object.as_str(), |(before, after)| {
            // Only what stands before the first colon or dot can be a scheme; a key may hold anything.
            let is_scheme =
                before.is_empty() || before.chars().all(|c| c.is_alphanumeric() || c == ':');
            if is_scheme {
                after.split_once('/').map_or(after, |(_, rest)| rest)
            } else {
                &self.object
            }
        });
        let Some((namespace, rest)) = text.split_once(':') else { return false };
        let class = rest.split('.').next().unwrap_or_default().trim();
        let same_namespace = path
            .namespace()
            .is_none_or(|of_body| Namespace::parse(namespace).is_ok_and(|named| named == *of_body));
        same_namespace && class.eq_ignore_ascii_case(path.class().as_str())
    }
}

/// The text behind `%XX` escapes; `None` if an escape is broken or the result is not UTF-8.
pub(super) fn decode_percent(bytes: &[u8]) -> Option<String> {
    if !bytes.contains(&b'%') {
        return String::from_utf8(bytes.to_vec()).ok();
    }
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((byte, tail)) = rest.split_first() {
        if *byte == b'%' {
            let digits = std::str::from_utf8(tail.get(..2)?).ok()?;
            if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
                return None;
            }
            decoded.push(u8::from_str_radix(digits, 16).ok()?);
            rest = &tail[2..];
        } else {
            decoded.push(*byte);
            rest = tail;
        }
    }
    String::from_utf8(decoded).ok()
}

/// The text with everything escaped that a header value should not hold.
pub(super) fn encode_percent(text: &str) -> HeaderValue {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let mut encoded = Vec::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b" -._~:/()'`,;=".contains(&byte) {
            encoded.push(byte);
        } else {
            encoded.extend([b'%', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
        }
    }
    HeaderValue::from_bytes(&encoded).expect("only printable ASCII is left")
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;
    use crate::xml::{Limits as XmlLimits, RequestBody, decode_request};

    fn parts(method: &str, uri: &str, headers: &[(&str, &str)]) -> Parts {
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    #[track_caller]
    fn refused<T: std::fmt::Debug>(result: Result<T, Refusal>) -> (u16, Option<String>) {
        let response = result.expect_err("refused").response(None);
        let cim_error = response.headers().get("cimerror");
        (response.status().as_u16(), cim_error.map(|v| v.to_str().unwrap().to_owned()))
    }

    #[test]
    fn hosts() {
        let host_of = |headers: &[(&str, &str)]| host(&parts("POST", "/", headers));
        assert_eq!(host_of(&[("host", "h:5988")]).unwrap().unwrap(), "h:5988");
        assert_eq!(host_of(&[("host", "[::1]:5988")]).unwrap().unwrap(), "[::1]:5988");
        for headers in [
            &[][..],
            &[("host", "a"), ("host", "a")],
            &[("host", "")],
            &[("host", "a b")],
            &[("host", "<x>")],
            &[("host", "a/b")],
        ] {
            assert_eq!(refused(host_of(headers)).0, 400, "{headers:?}");
        }
        let mut old = parts("POST", "/", &[]);
        old.version = Version::HTTP_10;
        assert_eq!(host(&old).unwrap(), None);
        let absolute = parts("POST", "http://real:1/cimom", &[("host", "other")]);
        assert_eq!(host(&absolute).unwrap().unwrap(), "real:1");
    }

    #[test]
    fn manners() {
        let status = |method: &str, uri: &str| refused(manner(&parts(method, uri, &[]))).0;
        assert_eq!(manner(&parts("POST", "/cimom", &[])).unwrap(), Manner::Post);
        assert_eq!(manner(&parts("OPTIONS", "*", &[])).unwrap(), Manner::Options);
        assert_eq!(status("GET", "/cimom"), 405);
        assert_eq!(status("GET", "/etc/passwd"), 405);
        assert_eq!(status("PUT", "/"), 405);
        assert_eq!(status("m-post", "/"), 405);
        assert_eq!(status("POST", "/other"), 404);
        assert_eq!(status("POST", "/cimom/../etc"), 404);
    }

    #[test]
    fn extensions() {
        let good = format!("\"{CIM_EXTENSION}\"; ns=73");
        let read = |headers: &[(&str, &str)]| extension(&parts("M-POST", "/cimom", headers));
        assert_eq!(read(&[("man", &good), ("73-cimoperation", "MethodCall")]).unwrap(), "73");
        let bare = format!("{CIM_EXTENSION} ; ns=40");
        assert_eq!(read(&[("man", &bare), ("40-CIMOperation", "MethodCall")]).unwrap(), "40");
        let other = format!("{good}, \"http://example.com/x\"; ns=10");
        for headers in [
            &[][..],
            &[("73-cimoperation", "MethodCall")],
            &[("man", &good), ("cimoperation", "MethodCall")],
            &[("man", &good), ("74-cimoperation", "MethodCall")],
            &[("man", CIM_EXTENSION), ("73-cimoperation", "MethodCall")],
            &[("man", "\"http://example.com\"; ns=73"), ("73-cimoperation", "MethodCall")],
            &[("man", &other), ("73-cimoperation", "MethodCall")],
        ] {
            assert_eq!(refused(read(headers)).0, 510, "{headers:?}");
        }
        let mut old = parts("M-POST", "/", &[("man", &good), ("73-cimoperation", "MethodCall")]);
        old.version = Version::HTTP_10;
        assert_eq!(refused(extension(&old)).0, 400);
    }

    #[test]
    fn bodies() {
        let check = |headers: &[(&str, &str)]| {
            body(&parts("POST", "/", headers).headers, &Limits::default())
        };
        let xml = ("content-type", "application/xml; charset=\"utf-8\"");
        let five = ("content-length", "5");
        check(&[xml, five]).unwrap();
        check(&[xml, ("transfer-encoding", "chunked")]).unwrap();
        check(&[five, ("content-type", "Text/XML")]).unwrap();
        check(&[five, ("content-type", "text/xml;charset=UTF-8")]).unwrap();
        check(&[five, xml, ("content-encoding", "identity")]).unwrap();
        assert_eq!(refused(check(&[xml])).0, 411);
        assert_eq!(refused(check(&[xml, ("content-length", "99999999")])).0, 413);
        assert_eq!(refused(check(&[five])).0, 415);
        assert_eq!(refused(check(&[five, xml, xml])).0, 415);
        assert_eq!(refused(check(&[five, ("content-type", "text/plain")])).0, 415);
        assert_eq!(refused(check(&[five, ("content-type", "text/xml; charset=latin-1")])).0, 415);
        assert_eq!(refused(check(&[five, xml, ("content-encoding", "gzip")])).0, 415);
        assert_eq!(refused(check(&[xml, ("transfer-encoding", "gzip, chunked")])).0, 501);
    }

    const INTRINSIC: &[(&str, &str)] = &[
        ("CIMOperation", "MethodCall"),
        ("CIMMethod", "EnumerateInstances"),
        ("CIMObject", "root/virt"),
    ];

    #[test]
    fn announcements() {
        let read = |headers: &[(&str, &str)]| {
            announcement(&parts("POST", "/", headers).headers, &Manner::Post)
        };
        read(INTRINSIC).unwrap();
        let but = |name: &str, value: Option<&str>| {
            let mut headers: Vec<_> =
                INTRINSIC.iter().filter(|(n, _)| *n != name).copied().collect();
            headers.extend(value.map(|value| (name, value)));
            refused(announcement(&parts("POST", "/", &headers).headers, &Manner::Post))
        };
        let unsupported = (400, Some("unsupported-operation".to_owned()));
        let mismatch = (400, Some("header-mismatch".to_owned()));
        assert_eq!(but("CIMOperation", None), unsupported);
        assert_eq!(but("CIMOperation", Some("")), unsupported);
        assert_eq!(but("CIMOperation", Some("MethodRequest")), unsupported);
        assert_eq!(but("CIMMethod", None), mismatch);
        assert_eq!(but("CIMMethod", Some("")), mismatch);
        assert_eq!(but("CIMMethod", Some("%4")), mismatch);
        assert_eq!(but("CIMObject", None), mismatch);
        assert_eq!(but("CIMObject", Some("%ff")), mismatch);
        assert_eq!(but("CIMObject", Some("%zz")), mismatch);
        let batch = (501, Some("multiple-requests-unsupported".to_owned()));
        assert_eq!(but("CIMBatch", Some("")), batch);
        let twice = [INTRINSIC, &[("CIMMethod", "EnumerateInstances")]].concat();
        assert_eq!(refused(read(&twice)), mismatch);
        let twice = [INTRINSIC, &[("CIMOperation", "MethodCall")]].concat();
        assert_eq!(refused(read(&twice)), unsupported);
        let extended: Vec<_> =
            INTRINSIC.iter().map(|(name, value)| (format!("73-{name}"), *value)).collect();
        let extended: Vec<_> =
            extended.iter().map(|(name, value)| (name.as_str(), *value)).collect();
        let extended = parts("M-POST", "/", &extended).headers;
        announcement(&extended, &Manner::Extended("73".into())).unwrap();
        assert_eq!(refused(announcement(&extended, &Manner::Post)), unsupported);
    }

    /// Whether these headers fit a body that holds `call`.
    fn fits(method: &str, object: &str, version: Option<&str>, call: &str) -> bool {
        let xml = format!(
            "<CIM CIMVERSION=\"2.0\" DTDVERSION=\"2.0\"><MESSAGE ID=\"1\" PROTOCOLVERSION=\"1.0\">\
             <SIMPLEREQ>{call}</SIMPLEREQ></MESSAGE></CIM>"
        );
        let message = decode_request(xml.as_bytes(), &XmlLimits::default()).unwrap();
        let RequestBody::Simple(call) = &message.body else { panic!("one request") };
        let mut headers =
            vec![("CIMOperation", "MethodCall"), ("CIMMethod", method), ("CIMObject", object)];
        headers.extend(version.map(|version| ("CIMProtocolVersion", version)));
        let headers = parts("POST", "/", &headers).headers;
        let announcement = announcement(&headers, &Manner::Post).unwrap();
        announcement.compare_protocol(&message.protocol_version).is_ok()
            && announcement.compare(call).is_ok()
    }

    #[test]
    fn an_intrinsic_body_is_what_the_headers_say() {
        const CALL: &str = "<IMETHODCALL NAME=\"EnumerateInstances\"><LOCALNAMESPACEPATH>\
            <NAMESPACE NAME=\"root\"/><NAMESPACE NAME=\"virt\"/></LOCALNAMESPACEPATH></IMETHODCALL>";
        assert!(fits("EnumerateInstances", "root/virt", None, CALL));
        assert!(fits("enumerateinstances", "ROOT%2Fvirt", Some("1.0"), CALL));
        assert!(fits("EnumerateInstances", "/root/virt/", None, CALL));
        assert!(!fits("EnumerateInstances", "root/virt", Some("1.1"), CALL));
        assert!(!fits("EnumerateClasses", "root/virt", None, CALL));
        assert!(!fits("EnumerateInstances", "root/cimv2", None, CALL));
        assert!(!fits("EnumerateInstances", "root/virt:Class", None, CALL));
    }

    #[test]
    fn a_method_call_is_what_the_headers_say() {
        const CALL: &str = "<METHODCALL NAME=\"M\"><LOCALINSTANCEPATH><LOCALNAMESPACEPATH>\
            <NAMESPACE NAME=\"root\"/><NAMESPACE NAME=\"virt\"/></LOCALNAMESPACEPATH>\
            <INSTANCENAME CLASSNAME=\"C\"><KEYBINDING NAME=\"k\"><KEYVALUE>http://a/b:D.x</KEYVALUE>\
            </KEYBINDING></INSTANCENAME></LOCALINSTANCEPATH></METHODCALL>";
        assert!(fits("M", "root/virt:C.k=\"http://a/b:D.x\"", None, CALL));
        assert!(fits("m", "root%2Fvirt%3Ac.K=\"any\",j=5", None, CALL));
        assert!(fits("M", "//host:5988/root/virt:C.k=1", None, CALL));
        assert!(fits("M", "http://host/root/virt:C", None, CALL));
        assert!(!fits("M", "root/virt:D.k=\"x\"", None, CALL));
        assert!(!fits("M", "root/cimv2:C.k=\"x\"", None, CALL));
        assert!(!fits("M", "root/virt", None, CALL));
        assert!(!fits("M", "C.k=\"x\"", None, CALL));
    }

    #[test]
    fn percent_escapes_survive_both_ways() {
        let text = "Klaus & Ünal: \"50%\"\r\n";
        let encoded = encode_percent(text);
        assert!(encoded.to_str().unwrap().is_ascii());
        assert_eq!(decode_percent(encoded.as_bytes()).unwrap(), text);
        for broken in ["%", "%4", "%+4", "%zz", "%ff"] {
            assert_eq!(decode_percent(broken.as_bytes()), None, "{broken}");
        }
    }
}
