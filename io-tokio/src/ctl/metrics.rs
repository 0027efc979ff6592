//! A server's page of metrics, fetched and read.

use std::time::Duration;

use super::way::Way;

/// How large a page may be.
const PAGE_BYTES_MAX: usize = 16 << 20;

/// Samples by name and labels.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Page(Vec<Sample>);

#[derive(Clone, Debug, PartialEq)]
struct Sample {
    name: String,
    labels: String,
    value: f64,
}

/// Fetches the page of an endpoint.
pub(super) async fn fetch(way: &Way, endpoint: &str, within: Duration) -> Result<Page, String> {
    let fetched = tokio::time::timeout(within, way.page(endpoint, "/metrics", PAGE_BYTES_MAX));
    let text = fetched.await.map_err(|_| "no answer in time".to_owned())??;
    Ok(Page::parse(&text))
}

impl Page {
    pub(super) fn parse(text: &str) -> Self {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        Self(lines.filter_map(parse_line).collect())
    }

    /// All values of a name, together.
    pub(super) fn sum(&self, name: &str) -> f64 {
        self.sum_where(name, "")
    }

    /// Those whose labels have this part.
    pub(super) fn sum_where(&self, name: &str, label: &str) -> f64 {
        let of_name = |sample: &&Sample| sample.name == name && sample.labels.contains(label);
        // A sum of nothing would be less than zero.
        self.0.iter().filter(of_name).fold(0.0, |sum, sample| sum + sample.value)
    }
}

/// `name{labels} value`
fn parse_line(line: &str) -> Option<Sample> {
    let (series, value) = line.trim().rsplit_once(' ')?;
    let (name, labels) = series.split_once('{').unwrap_or((series, ""));
    Some(Sample {
        name: name.trim().to_owned(),
        labels: labels.trim_end_matches('}').to_owned(),
        value: value.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_summed_by_name_and_label() {
        let page = Page::parse(
            "# HELP a b\na 1\nb{x=\"1\",y=\"2\"} 2.5\nb{x=\"2\"} 1e3\nbroken\nc{} nope\n",
        );
        assert_eq!(page.sum("a").to_bits(), 1.0_f64.to_bits());
        assert_eq!(page.sum("b").to_bits(), 1002.5_f64.to_bits());
        assert_eq!(page.sum_where("b", "x=\"2\"").to_bits(), 1000.0_f64.to_bits());
        assert_eq!(page.sum("absent").to_bits(), 0.0_f64.to_bits());
    }
}
