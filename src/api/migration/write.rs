//! The JSON of a migration's report.

use super::{
    BaselineReport, CanaryReport, MigrationReport, PhaseReport, ReturnReport, RollbackReport,
    RuleReport, StepReport,
};
use crate::{
    api::json::Json,
    model::{Channel, Modes, Timestamp},
};

impl MigrationReport {
    /// Its JSON.
    pub fn to_json(&self, timestamp: Timestamp) -> Vec<u8> {
        let mut json = Json::with_capacity(8192);
        json.open(b'{');
        json.key("state").text(self.state);
        json.key("mode").text(self.mode.as_str());
        modes(json.key("channels"), self.modes);
        json.key("phase").text_or_null(self.phase);
        let waits_for = self.waits_for.iter().map(String::as_str);
        json.key("waits_for").texts(waits_for);
        list(json.key("phases"), &self.phases, PhaseReport::write);
        list(json.key("baseline"), &self.baseline, BaselineReport::write);
        json.key("guard").open(b'{');
        json.key("setting").text(self.guard);
        list(json.key("rules"), &self.rules, RuleReport::write);
        json.close(b'}');
        self.canary.write(json.key("canary"));
        let rollback = json.key("rollback");
        match &self.rollback {
            Some(report) => report.write(rollback),
            None => rollback.null(),
        }
        let comes_back = json.key("return");
        match &self.comes_back {
            Some(report) => report.write(comes_back),
            None => comes_back.null(),
        }
        list(json.key("history"), &self.history, StepReport::write);
        list(json.key("notices"), &self.notices, |notice, json| {
            json.raw(notice);
        });
        json.key("timestamp").time(timestamp);
        json.close(b'}');
        json.into_bytes()
    }
}

fn list<T>(json: &mut Json, items: &[T], write: impl Fn(&T, &mut Json)) {
    json.open(b'[');
    for item in items {
        write(item, json.item());
    }
    json.close(b']');
}

fn modes(json: &mut Json, modes: Modes) {
    json.open(b'{');
    for channel in Channel::ALL {
        json.key(channel.as_str()).text(modes.of(channel).as_str());
    }
    json.close(b'}');
}

fn decimal_or_null(json: &mut Json, value: Option<f64>) {
    match value {
        Some(value) => json.decimal(value),
        None => json.null(),
    }
}

fn time_or_null(json: &mut Json, value: Option<Timestamp>) {
    match value {
        Some(value) => json.time(value),
        None => json.null(),
    }
}

fn flag_or_null(json: &mut Json, value: Option<bool>) {
    match value {
        Some(value) => json.flag(value),
        None => json.null(),
    }
}

impl PhaseReport {
    fn write(&self, json: &mut Json) {
        json.open(b'{');
        json.key("name").text(self.name);
        json.key("state").text(self.state);
        modes(json.key("channels"), self.modes);
        json.key("soak").span(self.soak);
        time_or_null(json.key("entered"), self.entered);
        json.close(b'}');
    }
}

impl BaselineReport {
    fn write(&self, json: &mut Json) {
        json.open(b'{');
        json.key("name").text(self.name);
        decimal_or_null(json.key("p95_ms"), self.p95_ms);
        json.key("samples").number(self.samples);
        json.close(b'}');
    }
}

impl RuleReport {
    fn write(&self, json: &mut Json) {
        json.open(b'{');
        json.key("name").text(self.name);
        json.key("state").text(self.state);
        json.key("armed").flag(self.armed);
        decimal_or_null(json.key("value"), self.value);
        decimal_or_null(json.key("threshold"), self.threshold);
        json.key("unit").text(self.unit);
        json.key("broken").number(self.broken);
        json.key("windows").number(self.windows);
        json.close(b'}');
    }
}

impl CanaryReport {
    fn write(&self, json: &mut Json) {
        json.open(b'{');
        json.key("active").flag(self.active);
        json.key("runs").number(self.runs);
        json.key("failures").number(self.failures);
        time_or_null(json.key("at"), self.at);
        list(json.key("steps"), &self.steps, |step, json| {
            json.open(b'{');
            json.key("name").text(step.name);
            json.key("took_ms").decimal(step.took_ms);
            json.key("error").text_or_null(step.error.as_deref());
            json.close(b'}');
        });
        json.close(b'}');
    }
}

impl StepReport {
    fn write(&self, json: &mut Json) {
        json.open(b'{');
        json.key("at").time(self.at);
        json.key("event").text(self.event);
        json.key("phase").text_or_null(self.phase);
        json.key("text").text(&self.text);
        json.key("figures").open(b'{');
        for (name, value) in &self.figures {
            json.key(name).decimal(*value);
        }
        json.close(b'}');
        json.close(b'}');
    }
}

impl RollbackReport {
    fn write(&self, json: &mut Json) {
        json.open(b'{');
        json.key("rule").text(self.rule);
        json.key("reason").text(&self.reason);
        json.key("stage").text(self.stage);
        modes(json.key("from"), self.from);
        json.key("began").time(self.began);
        decimal_or_null(json.key("flipped_ms"), self.flipped_ms);
        flag_or_null(json.key("drained"), self.drained);
        decimal_or_null(json.key("drain_ms"), self.drain_ms);
        flag_or_null(json.key("canary_passed"), self.canary_passed);
        list(json.key("latencies"), &self.latencies, |one, json| {
            json.open(b'{');
            json.key("name").text(one.name);
            json.key("p95_ms").decimal(one.p95_ms);
            json.key("max_ms").decimal(one.max_ms);
            json.close(b'}');
        });
        time_or_null(json.key("ended"), self.ended);
        json.key("notes")
            .texts(self.notes.iter().map(String::as_str));
        json.close(b'}');
    }
}

impl ReturnReport {
    fn write(&self, json: &mut Json) {
        json.open(b'{');
        modes(json.key("channels"), self.modes);
        json.key("not_before").time(self.not_before);
        json.key("by_itself").flag(self.by_itself);
        json.key("returns").number(self.returns);
        json.key("returns_max").number(self.returns_max);
        json.key("error").text_or_null(self.error.as_deref());
        json.close(b'}');
    }
}
