//! The metric path of a rule as metric names allow it.

/// `path` as the users of envoyproxy/ratelimit have it on their dashboards: `:` and `|` become `_`, and so do the dots of
/// anything that looks like an IPv4 address.
pub(super) fn sanitise(path: &str) -> String {
    let mut out: Vec<char> =
        path.chars().map(|c| if matches!(c, ':' | '|') { '_' } else { c }).collect();
    let mut at = 0;
    while at < out.len() {
        match ipv4_end(&out, at) {
            Some(end) => {
                out[at..end].iter_mut().filter(|c| **c == '.').for_each(|c| *c = '_');
                at = end;
            }
            None => at += 1,
        }
    }
    out.into_iter().collect()
}

/// The end of four runs of one to three digits with dots between, if they start at `at`.
fn ipv4_end(text: &[char], at: usize) -> Option<usize> {
    let mut end = at;
    for group in 0..4 {
        let digits = text[end..].iter().take(3).take_while(|c| c.is_ascii_digit()).count();
        if digits == 0 {
            return None;
        }
        end += digits;
        if group < 3 {
            if text.get(end) != Some(&'.') {
                return None;
            }
            end += 1;
        }
    }
    Some(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_lose_their_dots_and_other_dots_stay() {
        let check = |path: &str, expected: &str| assert_eq!(sanitise(path), expected);
        check("d.ip_10.0.0.1", "d.ip_10_0_0_1");
        check("d.ip_1.2.3.4/24.sub", "d.ip_1_2_3_4/24.sub");
        check("d.v_12345.6.7.8901", "d.v_12345_6_7_8901");
        check("d.v_1.2.3", "d.v_1.2.3");
        check("d:x|y.é*", "d_x_y.é*");
    }
}
