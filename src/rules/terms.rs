//! The terms of one limit: its number, window, algorithm and what else it says.

use super::defaults::Defaults;
use super::fields::{Field, Fields};
use super::level::{Level, home};
use super::limit::{Accuracy, Algorithm, Limit, Unit};
use super::read::{Choices, is_given};
use super::replaces::{self, Replaced};
use super::report::{Report, Reported, Spot, clip, nearest};
use super::yaml::Place;

const UNITS: &str = "second, minute, hour, day, week, month and year are allowed";

const YEAR: u64 = Unit::Year.as_secs();

/// How long a window may be, in seconds.
pub(super) const LONGEST_WINDOW: u64 = 5 * YEAR;

/// How long an empty bucket may take to become full, in seconds.
const LONGEST_REFILL: u64 = 100 * YEAR;

/// A bucket whose size is read later.
const BUCKET: Algorithm = Algorithm::TokenBucket { burst: 1 };

/// The algorithms by name.
pub(super) const ALGORITHMS: &Choices<Algorithm> = &[
    (Algorithm::FixedWindow.name(), Algorithm::FixedWindow),
    (Algorithm::SlidingWindow.name(), Algorithm::SlidingWindow),
    (BUCKET.name(), BUCKET),
];

/// The valid terms of a limit.
#[derive(Debug)]
pub(super) struct Terms {
    /// `None` means unlimited.
    pub(super) limit: Option<Limit>,
    pub(super) requests_per_unit: u32,
    pub(super) name: Box<str>,
    pub(super) replaces: Vec<Replaced>,
}

/// Where limits are read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Context<'c> {
    pub(super) path: &'c str,
    /// What the file says for limits that do not.
    pub(super) defaults: Defaults,
}

/// Reads the fields of a limit that stands at `at`.
pub(super) fn read(
    fields: &Fields<'_>,
    at: Place,
    context: Context<'_>,
    report: &mut Report,
) -> Result<Terms, Reported> {
    let path = context.path;
    let mut reader = Reader { fields, context, report };
    let requests_per_unit = reader.report.whole(fields.get("requests_per_unit"), path);
    let unit = reader.unit(at);
    let limit = match unit {
        Ok(None) => reader.no_limit().map(|()| None),
        Ok(Some(unit)) => reader.limit(Ok(unit), requests_per_unit).map(Some),
        Err(reported) => reader.limit(Err(reported), requests_per_unit).map(Some),
    };
    let name = report.text(fields.get("name"), path);
    let replaces = replaces::read(fields.get("replaces"), name.as_deref().ok(), path, report);
    Ok(Terms {
        limit: limit?,
        requests_per_unit: requests_per_unit?,
        name: name?.into(),
        replaces: replaces?,
    })
}

struct Reader<'r, 't> {
    fields: &'r Fields<'t>,
    context: Context<'r>,
    report: &'r mut Report,
}

impl Reader<'_, '_> {
    fn error(&mut self, at: Place, found: String, allowed: impl Into<String>) -> Reported {
        self.report.error(Spot { at, path: self.context.path }, found, allowed)
    }

    /// The unit; `None` for unlimited.
    fn unit(&mut self, at: Place) -> Result<Option<Unit>, Reported> {
        let path = self.context.path;
        let unlimited = self.report.boolean(self.fields.get("unlimited"), path);
        let field = self.fields.get("unit");
        let written = self.report.text(field, path);
        let (unlimited, written) = (unlimited?, written?);
        let at = Field::value_at(field, at);
        match (unlimited, Unit::parse(&written)) {
            (false, Some(unit)) => Ok(Some(unit)),
            (false, None) if field.is_none() && self.fields.misspells("unit") => Err(Reported),
            (false, None) => {
                let found = match (field, &*written) {
                    (None, _) => "unit is missing".to_owned(),
                    (_, "") => "unit is empty".to_owned(),
                    _ => format!("unit is {:?}", clip(&written)),
                };
                let names = Unit::ALL.map(|unit| unit.name().to_lowercase());
                let near = nearest(&written, &names.each_ref().map(String::as_str));
                let allowed = near.map(|name| format!("did you mean {name:?}? "));
                Err(self.error(at, found, allowed.unwrap_or_default() + UNITS))
            }
            (true, Some(_)) => {
                let found = format!("unlimited stands beside unit {:?}", clip(&written));
                Err(self.error(at, found, "one of the two is allowed"))
            }
            (true, None) => {
                if let Some(field) = self.fields.get("requests_per_unit") {
                    let found = "requests_per_unit stands beside unlimited".to_owned();
                    self.report.warn(Spot { at: field.at, path }, found, "there is no limit");
                }
                Ok(None)
            }
        }
    }

    /// What says how to count means nothing where nothing is counted.
    fn no_limit(&mut self) -> Result<(), Reported> {
        let mut result = Ok(());
        let ours = Level::RateLimit.keys().iter().filter(|name| home(name).is_some());
        for field in ours.filter_map(|name| self.fields.get(name)) {
            if is_given(Some(field)) {
                let found = format!("{} stands beside unlimited", field.name);
                result = Err(self.error(field.at, found, "one of the two is allowed"));
            }
        }
        result
    }

    /// The limit; what depends on a number that is wrong is not checked.
    fn limit(
        &mut self,
        unit: Result<Unit, Reported>,
        requests: Result<u32, Reported>,
    ) -> Result<Limit, Reported> {
        let path = self.context.path;
        let own = Defaults::of(self.fields, path, self.report);
        let window = self.window(unit);
        let algorithm = self.algorithm(requests, window);
        let said = own?.or(self.context.defaults);
        let (unit, multiplier) = window?;
        let accuracy = said.accuracy.unwrap_or_default();
        let accuracy = self.accuracy(accuracy, unit.window_secs(multiplier));
        let algorithm = algorithm?;
        Ok(Limit {
            requests_per_unit: requests?,
            unit,
            multiplier,
            algorithm,
            count_refused: said.count_refused.unwrap_or(algorithm.counts_refused()),
            accuracy: accuracy?,
            on_store_error: said.on_store_error.unwrap_or_default(),
        })
    }

    /// The unit and how many of them make the window.
    fn window(&mut self, unit: Result<Unit, Reported>) -> Result<(Unit, u32), Reported> {
        let field = self.fields.get("unit_multiplier");
        let multiplier = self.report.count(field, self.context.path);
        let (unit, multiplier) = (unit?, multiplier?.unwrap_or(1));
        if field.is_none() && self.fields.misspells("unit_multiplier") {
            return Err(Reported);
        }
        if unit.window_secs(multiplier) > LONGEST_WINDOW {
            let name = unit.name().to_lowercase();
            let found = format!("unit_multiplier {multiplier} with unit {name} is too long");
            let most = LONGEST_WINDOW / unit.as_secs();
            let allowed = format!("1 to {most} is allowed: windows of at most five years");
            let at = Field::value_at(field, Place::default());
            return Err(self.error(at, found, allowed));
        }
        Ok((unit, multiplier))
    }

    fn algorithm(
        &mut self,
        requests: Result<u32, Reported>,
        window: Result<(Unit, u32), Reported>,
    ) -> Result<Algorithm, Reported> {
        let path = self.context.path;
        let field = self.fields.get("algorithm");
        let algorithm = self.report.choice(field, ALGORITHMS, path);
        let burst = self.report.count(self.fields.get("burst"), path);
        if field.is_none() && self.fields.misspells("algorithm") {
            return Err(Reported);
        }
        let (algorithm, burst) = (algorithm?.unwrap_or(Algorithm::FixedWindow), burst?);
        match (algorithm, burst) {
            (Algorithm::TokenBucket { .. }, Some(burst)) => {
                self.burst(burst, requests?, window)?;
                Ok(Algorithm::TokenBucket { burst })
            }
            (Algorithm::TokenBucket { .. }, None) => {
                Ok(Algorithm::TokenBucket { burst: requests?.max(1) })
            }
            (other, None) => Ok(other),
            (other, Some(_)) => {
                let at = self.fields.get("burst").map_or(Place::default(), |field| field.at);
                let found = format!("burst stands beside algorithm {}", other.name());
                Err(self.error(at, found, "it is allowed with algorithm token_bucket"))
            }
        }
    }

    /// A bucket must become full in a time that can be told.
    fn burst(
        &mut self,
        burst: u32,
        requests: u32,
        window: Result<(Unit, u32), Reported>,
    ) -> Result<(), Reported> {
        let field = self.fields.get("burst");
        if requests == 0 {
            if self.fields.misspells("requests_per_unit") {
                return Err(Reported);
            }
            let at = field.map_or(Place::default(), |field| field.at);
            let found = "burst stands beside requests_per_unit 0".to_owned();
            return Err(self.error(at, found, "a bucket that gains nothing holds nothing"));
        }
        let (unit, multiplier) = window?;
        let refill = u128::from(burst) * u128::from(unit.window_secs(multiplier));
        if refill > u128::from(LONGEST_REFILL) * u128::from(requests) {
            let years = refill.div_ceil(u128::from(requests) * u128::from(YEAR));
            let found = format!("burst {burst} takes {years} years to refill");
            let allowed = "burst x window / requests_per_unit may be at most 100 years";
            let at = Field::value_at(field, Place::default());
            return Err(self.error(at, found, allowed));
        }
        Ok(())
    }

    /// A lease is taken for a part of the window, which must be longer than that.
    fn accuracy(&mut self, accuracy: Accuracy, secs: u64) -> Result<Accuracy, Reported> {
        if accuracy != Accuracy::Leased || secs > 1 {
            return Ok(accuracy);
        }
        let own = self.fields.get("accuracy").filter(|field| is_given(Some(field)));
        let (whose, field) = match own {
            Some(own) => ("accuracy is leased", Some(own)),
            None => ("accuracy is leased by defaults", self.fields.get("unit")),
        };
        let found = format!("{whose}, with a window of one second");
        let at = Field::value_at(field, Place::default());
        let allowed = "say exact here, or make the window longer";
        Err(self.error(at, found, allowed))
    }
}
