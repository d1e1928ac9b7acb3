//! Mogrifiers: expressions that give a DogStatsD metric another name and tags.

use regex::Regex;

use super::template::Template;

/// One of them.
#[derive(Clone, Debug)]
pub struct Mogrifier {
    pattern: Regex,
    name: Template,
    tags: Vec<(String, Template)>,
}

impl PartialEq for Mogrifier {
    fn eq(&self, other: &Self) -> bool {
        self.pattern.as_str() == other.pattern.as_str()
            && (&self.name, &self.tags) == (&other.name, &other.tags)
    }
}

impl Mogrifier {
    /// Names whatever `pattern` matches; `$n` in `name` and in the values of `tags` stands
    /// for what it captured.
    pub fn new(pattern: Regex, name: &str, tags: &[(String, String)]) -> Self {
        let mut tags: Vec<_> =
            tags.iter().map(|(key, value)| (key.clone(), Template::new(value))).collect();
        tags.sort_by(|one, other| one.0.cmp(&other.0));
        Self { pattern, name: Template::new(name), tags }
    }
}

/// The name and tags by the first of `mogrifiers` that matches, else the name as it is.
pub(super) fn mogrify(mogrifiers: &[Mogrifier], name: &str) -> (String, Vec<(String, String)>) {
    let found = mogrifiers.iter().find_map(|m| Some((m, m.pattern.captures(name)?)));
    let Some((mogrifier, captures)) = found else { return (name.to_owned(), Vec::new()) };
    let captures: Vec<&str> =
        captures.iter().map(|group| group.map_or("", |group| group.as_str())).collect();
    let tags = mogrifier.tags.iter().map(|(key, value)| (key.clone(), value.fill(&captures)));
    (mogrifier.name.fill(&captures), tags.collect())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn mogrifier(pattern: &str, name: &str, tags: &[(&str, &str)]) -> Mogrifier {
        let tags: Vec<_> =
            tags.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        Mogrifier::new(Regex::new(pattern).unwrap(), name, &tags)
    }

    #[test]
    fn the_first_match_names() {
        let mogrifiers = [
            mogrifier(
                r"^ratelimit\.service\.rate_limit\.(.*)\.(.*)\.(.*)$",
                "ratelimit.service.rate_limit.$3",
                &[("domain", "$1"), ("descriptor", "$2")],
            ),
            mogrifier("rate", "never_$0", &[]),
            mogrifier("(x)|y", "odd.$1.$2.$0", &[("all", "$0$1")]),
        ];
        let check = |name: &str, expected: &str, tags: &[(&str, &str)]| {
            let (actual, found) = mogrify(&mogrifiers, name);
            assert_eq!(actual, expected);
            let found: Vec<_> = found.iter().map(|(k, v)| (&**k, &**v)).collect();
            assert_eq!(found, tags, "{name}");
        };
        check(
            "ratelimit.service.rate_limit.shop.user_a.total_hits",
            "ratelimit.service.rate_limit.total_hits",
            &[("descriptor", "user_a"), ("domain", "shop")],
        );
        check(
            "ratelimit.service.rate_limit.shop.user_a.path_b.total_hits",
            "ratelimit.service.rate_limit.total_hits",
            &[("descriptor", "path_b"), ("domain", "shop.user_a")],
        );
        check("a.rate.b", "never_rate", &[]);
        check("a.y.b", "odd..$2.y", &[("all", "y")]);
        check("a.x.b", "odd.x.$2.x", &[("all", "xx")]);
        check("nothing", "nothing", &[]);
        assert_eq!(mogrify(&[], "a"), ("a".to_owned(), vec![]));
    }
}
