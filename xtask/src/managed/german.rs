//! What the settings do, in German.

use super::{Key, Language};

pub(super) const GERMAN: Language = Language {
    product: "ZTNA Connector",
    value: "Wert",
    at_once: "Eine Änderung gilt innerhalb von Sekunden.",
    anew: "Eine Änderung gilt innerhalb von Sekunden; der Dienst startet dafür von selbst neu, und offene Verbindungen enden.",
    describe,
    variable: |variable| format!("Dies ist stärker als die Umgebungsvariable {variable}."),
};

/// Returns what a key does; nothing for one that nobody has put into German.
fn describe(key: &Key) -> &'static str {
    let known = WORDS.iter().find(|(name, _)| *name == key.name);
    known.map_or("", |(_, words)| words)
}

const WORDS: [(&str, &str); 23] = [
    (
        "control_plane.url",
        "Die Basis-URL der Control Plane. http wird nur für Loopback-Adressen angenommen.",
    ),
    (
        "control_plane.policy_key",
        "Der öffentliche Ed25519-Schlüssel der Firma, als 43 Zeichen Base64url. Er signiert die Konfiguration, die Richtlinien und die Codes von `ztna override`.",
    ),
    (
        "control_plane.dns_suffixes",
        "Die Domänen, die die Firma schützen darf. Namen außerhalb davon werden nicht beachtet.",
    ),
    (
        "control_plane.enrolment_token_file",
        "Eine Datei mit dem Einmal-Token, das dieses Gerät zulässt, wo die Control Plane danach fragt.",
    ),
    ("device.name", "Wie man dieses Gerät nennt."),
    (
        "service.state_dir",
        "Wo Schlüssel und Zustand aufbewahrt werden.",
    ),
    (
        "service.log_dir",
        "Wohin das Entscheidungsprotokoll geschrieben wird.",
    ),
    (
        "service.socket",
        "Wo der Dienst auf `ztna` und das Symbol in der Leiste wartet.",
    ),
    (
        "service.key_store",
        "Wo der Schlüssel liegt, der versiegelt, was von einer Person aufbewahrt wird: `system` für den Schlüsselspeicher des Systems, `files` für Dateien, die privat und nicht versiegelt sind.",
    ),
    (
        "policy.mode",
        "Wo entschieden wird: `company` für das, was die Konfiguration der Firma sagt, oder `remote`, `proximity`, `proximity-then-remote`.",
    ),
    ("proxy.enabled", "Ob es einen lokalen Proxy gibt."),
    (
        "proxy.listen",
        "Wo der lokale Proxy lauscht; nur Loopback-Adressen.",
    ),
    (
        "telemetry.otlp_endpoint",
        "Ein Sammler, der die Entscheidungen neben der Control Plane als OpenTelemetry-Logs bekommt.",
    ),
    (
        "log.level",
        "Welche Zeilen der Dienst protokolliert: off, error, warn, info, debug, trace oder Ziel=Stufe.",
    ),
    (
        "log.format",
        "Wie der Dienst protokolliert: `text` oder `json`.",
    ),
    (
        "always_on.enabled",
        "Hält den Connector an: Niemand kann ihn mit `ztna down` oder über das Symbol ausschalten, und eine laufende Pause endet. Nur ein Code der Firma (`ztna override`) öffnet für eine Zeit.",
    ),
    (
        "pause.allowed",
        "Ob man den Connector ausschalten darf. Wenn nicht, kann es nur ein Code der Firma (`ztna override`).",
    ),
    (
        "pause.reason_required",
        "Ob man beim Ausschalten einen Grund nennen muss. Er wird in das Entscheidungsprotokoll geschrieben.",
    ),
    (
        "pause.limit",
        "Wie lange man den Connector höchstens ausschalten darf, in Minuten; eine längere oder endlose Pause wird darauf verkürzt.",
    ),
    (
        "tray.autostart",
        "Ob das Symbol bleibt, wenn es bei der Anmeldung gestartet wird. Wenn nicht, endet es sofort; man kann es weiterhin selbst starten.",
    ),
    (
        "support.address",
        "Wo man Hilfe bekommt: eine Adresse, eine Seite oder ein Satz.",
    ),
    (
        "managed.by",
        "Wer dieses Gerät verwaltet, wie man es neben dem liest, was man nicht ändern kann.",
    ),
    (
        "update.channel",
        "Der Kanal, aus dem dieses Gerät seine Pakete bekommt. Wird nur angezeigt: Der Connector aktualisiert sich nicht selbst, das tut die Paketverwaltung des Systems.",
    ),
];
