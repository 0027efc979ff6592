//! What `--auth-token` says.

use std::path::PathBuf;
use std::time::Duration;

use crate::cli::parse_duration;

/// How long a signed token lives if nobody says.
const TTL: Duration = Duration::from_secs(300);

/// A kind of token, with all it needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenKind {
    /// Issued by entries, known to members.
    Simple,
    /// JSON web tokens.
    Jwt(JwtOptions),
    /// None: nobody gets in by a password.
    Absent,
}

/// How tokens are signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JwtOptions {
    /// By which algorithm.
    pub method: Method,
    /// Where the key is that verifies.
    pub public_key: Option<PathBuf>,
    /// Where the key is that signs.
    pub private_key: Option<PathBuf>,
    /// How long a token lives.
    pub ttl: Duration,
}

macro_rules! methods {
    ($($method:ident $name:literal,)*) => {
        /// An algorithm that signs.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Method {
            $(#[doc = concat!("`", $name, "`")] $method,)*
        }

        impl Method {
            /// All there are.
            pub const ALL: &[Self] = &[$(Self::$method,)*];

            /// Its name in a token's header.
            pub fn name(self) -> &'static str {
                match self { $(Self::$method => $name,)* }
            }
        }
    };
}

methods! {
    Hs256 "HS256", Hs384 "HS384", Hs512 "HS512",
    Rs256 "RS256", Rs384 "RS384", Rs512 "RS512",
    Ps256 "PS256", Ps384 "PS384", Ps512 "PS512",
    Es256 "ES256", Es384 "ES384", Es512 "ES512",
    EdDsa "EdDSA",
}

impl TokenKind {
    /// Understands the flag.
    pub fn parse(flag: &str) -> Result<Self, String> {
        let (kind, options) = flag.split_once(',').map_or((flag, None), |(a, b)| (a, Some(b)));
        let options = read_pairs(options)?;
        match kind {
            "simple" => Ok(Self::Simple),
            "jwt" => JwtOptions::read(&options).map(Self::Jwt),
            "" => Ok(Self::Absent),
            _ => Err(format!("unknown kind of token {kind:?}; there are \"simple\" and \"jwt\"")),
        }
    }
}

fn read_pairs(options: Option<&str>) -> Result<Vec<(&str, &str)>, String> {
    let mut pairs: Vec<(&str, &str)> = Vec::new();
    for option in options.into_iter().flat_map(|options| options.split(',')) {
        let pair = option.split_once('=').filter(|(_, value)| !value.contains('='));
        let (name, value) = pair.ok_or_else(|| format!("{option:?} is no name=value"))?;
        if pairs.iter().any(|(known, _)| *known == name) {
            return Err(format!("{name:?} is given twice"));
        }
        pairs.push((name, value));
    }
    Ok(pairs)
}

impl JwtOptions {
    /// Names that are not known are passed over, as in etcd.
    fn read(pairs: &[(&str, &str)]) -> Result<Self, String> {
        let find = |name| pairs.iter().find(|pair| pair.0 == name).map_or("", |pair| pair.1);
        let file = |name| Some(find(name)).filter(|path| !path.is_empty()).map(PathBuf::from);
        let ttl = match find("ttl") {
            "" => TTL,
            word => parse_duration(word).ok_or_else(|| format!("ttl {word:?} is no duration"))?,
        };
        let word = find("sign-method");
        let method = Method::ALL.iter().find(|method| method.name() == word);
        let method = *method.ok_or_else(|| {
            let all: Vec<_> = Method::ALL.iter().map(|method| method.name()).collect();
            format!("unknown sign-method {word:?}; there are {}", all.join(", "))
        })?;
        Ok(Self { method, public_key: file("pub-key"), private_key: file("priv-key"), ttl })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_understood() {
        assert_eq!(TokenKind::parse("simple"), Ok(TokenKind::Simple));
        assert_eq!(TokenKind::parse(""), Ok(TokenKind::Absent));
        let full = "jwt,pub-key=/a/b.pub,priv-key=/a/b,sign-method=ES512,ttl=10m,more=1";
        let options = JwtOptions {
            method: Method::Es512,
            public_key: Some("/a/b.pub".into()),
            private_key: Some("/a/b".into()),
            ttl: Duration::from_secs(600),
        };
        assert_eq!(TokenKind::parse(full), Ok(TokenKind::Jwt(options)));
        let TokenKind::Jwt(least) = TokenKind::parse("jwt,sign-method=HS256").unwrap() else {
            panic!("another kind")
        };
        assert_eq!((least.ttl, least.private_key), (TTL, None));
    }

    #[test]
    fn nonsense_is_named() {
        for (flag, why) in [
            ("bearer", "unknown kind of token \"bearer\""),
            ("jwt", "unknown sign-method \"\""),
            ("jwt,sign-method=none", "unknown sign-method \"none\""),
            ("jwt,sign-method", "\"sign-method\" is no name=value"),
            ("jwt,a=b=c", "\"a=b=c\" is no name=value"),
            ("jwt,ttl=1m,ttl=2m", "\"ttl\" is given twice"),
            ("jwt,sign-method=HS256,ttl=soon", "ttl \"soon\" is no duration"),
        ] {
            let said = TokenKind::parse(flag).unwrap_err();
            assert!(said.starts_with(why), "{flag}: {said}");
        }
    }
}
