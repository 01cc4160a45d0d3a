//! Keeps browsers' pages of elsewhere out. A page that a user of this machine visits can send
//! requests here; what it cannot do is choose the `Host` and `Origin` headers. So: the host
//! named must be a loopback name, an IP address or allowed (against DNS rebinding), and an
//! origin, where there is one, must be the same as the host or allowed (websockets are not
//! bound by the same-origin policy). This comes before anything else that a request can do.

use std::net::IpAddr;

use actix_web::HttpResponse;
use actix_web::http::header::{HOST, HeaderMap, ORIGIN};

use crate::settings::Web;

/// Why a request is not let in; `None` where it is. `clients` gives the clients' addresses of
/// the members, by whose names they are dialled.
#[must_use]
pub fn refusal(
    headers: &HeaderMap,
    web: &Web,
    clients: impl FnOnce() -> Vec<String>,
) -> Option<String> {
    let header = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let Some(host) = header(HOST) else {
        return Some("the request names no Host".to_owned());
    };
    if !host_allowed(host, &web.allowed_hosts)
        && !clients().iter().any(|address| names(host, address))
    {
        return Some(format!("Host \"{host}\" is not allowed: add it to http.allowed_hosts"));
    }
    if headers.contains_key(ORIGIN) {
        let origin = header(ORIGIN).unwrap_or("?");
        if !origin_allowed(origin, host, &web.allowed_origins) {
            return Some(format!(
                "Origin \"{origin}\" is not allowed: add it to http.allowed_origins"
            ));
        }
    }
    None
}

/// The answer to a request that is not let in.
#[must_use]
pub fn forbidden(why: &str) -> HttpResponse {
    HttpResponse::Forbidden().json(serde_json::json!({"code": "permission_denied", "message": why}))
}

fn host_allowed(host: &str, allowed: &[String]) -> bool {
    let name = without_port(host);
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    bare.parse::<IpAddr>().is_ok()
        || name == "localhost"
        || name.ends_with(".localhost")
        || allowed
            .iter()
            .any(|other| other.eq_ignore_ascii_case(&name) || other.eq_ignore_ascii_case(host))
}

/// Whether a request names the host of that address.
fn names(host: &str, address: &str) -> bool {
    let name = |text| without_port(text).trim_end_matches('.').to_ascii_lowercase();
    name(host) == name(address)
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => {
            // An IPv6 address without brackets has no port.
            if name.contains(':') && !name.ends_with(']') { host } else { name }
        }
        _ => host,
    }
}

fn origin_allowed(origin: &str, host: &str, allowed: &[String]) -> bool {
    let same = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
    same.is_some_and(|authority| authority.eq_ignore_ascii_case(host))
        || allowed.iter().any(|other| other.eq_ignore_ascii_case(origin))
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::http::header::HeaderValue;

    fn check(host: &str, origin: Option<&str>) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, HeaderValue::from_str(host).unwrap());
        if let Some(origin) = origin {
            headers.insert(ORIGIN, HeaderValue::from_str(origin).unwrap());
        }
        let web = Web {
            http: true,
            allowed_hosts: vec!["db.example".into()],
            allowed_origins: vec!["https://ui.example".into()],
        };
        refusal(&headers, &web, || vec!["n2.db.internal:7101".to_owned()]).is_none()
    }

    #[test]
    fn loopback_addresses_and_allowed_names_are_let_in() {
        for host in ["localhost:7101", "127.0.0.1:7101", "[::1]:7101", "10.0.0.5", "db.example:1"] {
            assert!(check(host, None), "{host}");
        }
    }

    #[test]
    fn the_names_of_the_members_are_let_in() {
        assert!(check("n2.db.internal:7101", Some("http://n2.db.internal:7101")));
        assert!(check("N2.db.internal.:443", None));
        assert!(!check("n3.db.internal:7101", None));
        assert!(!check("n2.db.internal:7101", Some("http://n3.db.internal:7101")));
    }

    #[test]
    fn a_rebound_name_is_kept_out() {
        for host in
            ["db.internal", "evil.example", "evil.example:7101", "localhost.evil.example", ""]
        {
            assert!(!check(host, None), "{host}");
        }
    }

    #[test]
    fn a_page_of_elsewhere_is_kept_out_and_one_of_here_is_not() {
        assert!(check("127.0.0.1:7101", Some("http://127.0.0.1:7101")));
        assert!(check("127.0.0.1:7101", Some("https://ui.example")));
        assert!(!check("127.0.0.1:7101", Some("https://evil.example")));
        assert!(!check("127.0.0.1:7101", Some("http://127.0.0.1:8080")));
        assert!(!check("127.0.0.1:7101", Some("null")));
    }
}
