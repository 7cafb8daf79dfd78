# Was das Fenster sagt, neben den Texten des Symbols.

page-overview = Übersicht
page-resources = Anwendungen
page-device = Dieses Gerät
page-decisions = Entscheidungen
page-diagnostics = Diagnose
page-settings = Einstellungen
page-help = Hilfe
page-about = Über

pages = Seiten
page-chosen = Seite
dismiss = Schließen
copied = Kopiert: { $text }
without-service = Solange der Connector nicht läuft, ist nichts bekannt. Diese Seite kommt von selbst wieder. Im Terminal sagt „ztna service status“ mehr.

session = Sitzung
sign-in-why = Melden Sie sich an, um die Anwendungen Ihrer Firma zu erreichen.
see-device = Zeigen, was zu beheben ist
see-diagnostics = Die Ursache suchen
pause-means = Solange der Connector ausgeschaltet ist, sind geschützte Anwendungen nicht erreichbar.
requests = Ihre Anträge
traffic = Datenverkehr
traffic-down = Empfangen: { $rate }
traffic-up = Senden: { $rate }
traffic-delay = Nach „{ $site }“ und zurück: { $time }
per-second = { $amount }/s
carried = { $down } empfangen, { $up } gesendet
graph-name = { $label }, über zwei Minuten

favourites = Favoriten
favourite = Zu den Favoriten
favourite-not = Aus den Favoriten nehmen
resources-signed-out = Ihre Anwendungen erscheinen, sobald Sie angemeldet sind.
resources-empty = Ihre Firma hat keine Anwendungen für Sie. Wenn eine fehlt, fragen Sie Ihren Support.
nothing-found = Nichts passt. Suchen Sie etwas anderes.
copy-address = Adresse kopieren
why = Warum?
request = Zugang beantragen …
request-for = Sie beantragen Zugang zu „{ $title }“. Wer entscheidet, liest Ihre Begründung.
request-length = Für wie lange?
request-send = Beantragen
cancel = Abbrechen
hindrance-name = Sie steht für viele Namen; nach einem einzelnen lässt sich nicht fragen.
hindrance-reason = Sagen Sie zuerst, warum.
hindrance-service = Der Connector läuft nicht.
asking = Wird gefragt …
check-unmet = Eine Prüfung wird nicht bestanden: { $title }

device-unknown = Noch wurde nichts gemessen. Das geschieht, sobald Sie angemeldet sind.
device-no-checks = Ihre Firma verlangt keine Prüfungen dieses Geräts.
device-all-pass = Dieses Gerät besteht jede Prüfung.
measured-at = Gemessen um { $time }

show = Zeigen
filter-all = Alle
filter-permitted = Erlaubte
filter-refused = Abgelehnte
follow = Neue
follow-on = Sofort zeigen
follow-off = Liste anhalten
decisions-none = Noch wurde nichts entschieden. Was Ihre Programme erreichen und was ihnen abgelehnt wird, steht dann hier.
copy-id = Nummer kopieren

examine = Prüfungen starten
examine-means = Sucht, was alles nicht stimmen kann: Dienst, Uhr, Netz, Gateways, andere VPNs. Das dauert einige Sekunden und ändert nichts.
examining = Wird gesucht …
examined-fine = Alles ist, wie es sein soll.
examined-wrong =
    { $count ->
        [one] Eines ist nicht, wie es sein soll.
       *[other] { $count } Dinge sind nicht, wie sie sein sollen.
    }
bundle = Eine Datei für Ihren Support
bundle-means = Schreibt, was der Connector weiß, in eine Datei, die Ihnen gehört. Nichts wird gesendet; sehen Sie sie durch, bevor Sie sie weitergeben.
bundle-create = Datei schreiben
bundle-anonymized = Datei mit ersetzten Namen schreiben
bundle-awaited = Wird geschrieben …
bundle-written = Geschrieben nach { $path }
bundle-no-command = Das Programm „ztna“ ist nicht dort, wo dieses ist. Im Terminal: ztna debug bundle
bundle-failed = Sie konnte nicht geschrieben werden: { $problem }
copy-path = Pfad kopieren

theme = Farben dieses Fensters
theme-system = Wie der Schreibtisch
theme-light = Hell
theme-dark = Dunkel
settings-service = Der Connector
settings-means = Sie gelten für alle an diesem Computer. Wie sie geändert werden, steht in „man ztna“.
settings-unknown = Seine Einstellungen erscheinen, solange er läuft.
settings-hidden = Seine Einstellungen werden Ihnen im Augenblick nicht gezeigt.
setting-empty = (nichts)
setting-origin = Aus { $origin }

guide-what = Was ist das?
guide-what-answer = Er entscheidet für jede Verbindung zu einer Anwendung Ihrer Firma, ob Sie sie von diesem Gerät aus und mit diesem Programm aufbauen dürfen, und überträgt, was Sie dürfen. Alles andere auf diesem Computer geht seinen gewohnten Weg, und er sieht es nicht an.
guide-sign-in = Wie melde ich mich an, und wie lange gilt das?
guide-sign-in-answer = Wählen Sie „Anmelden …“. Ihr Browser öffnet sich, und die Seite sagt, wann Sie fertig sind. Das Menü zeigt, wann die Sitzung endet; eine neue Anmeldung verlängert sie.
guide-refused = Warum wurde etwas abgelehnt?
guide-refused-answer = Die Meldung sagt, warum, und was zu tun ist. „Kürzlich abgelehnt“ im Menü und die Seite „Entscheidungen“ bewahren sie auf. Wenn jemand den Zugang gewähren kann, beantragen Sie ihn auf der Seite „Anwendungen“.
guide-device = Was, wenn dieses Gerät die Regeln nicht erfüllt?
guide-device-answer = Die Seite „Dieses Gerät“ sagt, welche Prüfung nicht bestanden ist und wie sich das beheben lässt. Wählen Sie dann „Neu prüfen“: Der Zugang kommt von selbst zurück.
guide-off = Was geschieht, wenn ich ihn ausschalte?
guide-off-answer = Geschützte Anwendungen sind nicht erreichbar, bis er wieder eingeschaltet ist; alles andere schon. Ihre Firma kann begrenzen, wie lange er aus bleibt, oder eine Begründung verlangen.
guide-away = Was, wenn es kein Netz gibt oder der Server der Firma nicht antwortet?
guide-away-answer = Was zuletzt vereinbart war, gilt noch eine Weile; das Menü sagt, wie lange. Danach sind geschützte Anwendungen erst wieder erreichbar, wenn der Server antwortet.
guide-wrong = Was, wenn etwas nicht funktioniert?
guide-wrong-answer = Wählen Sie „Prüfungen starten …“ im Menü: Bei allem, was nicht stimmt, steht, was zu tun ist. Wenn das nicht hilft, schreiben Sie auf der Seite „Diagnose“ eine Datei für den Support. Darin sind keine Passwörter und keine Inhalte von Verbindungen.
guide-recorded = Was wird über mich festgehalten?
guide-recorded-answer = Jede Entscheidung über eine geschützte Anwendung: wer, von welchem Gerät, mit welchem Programm, wohin, wann, und warum so. Nie, was Sie senden oder lesen, und nichts über andere Verbindungen.

documentation = Dokumentation
documentation-where = Im Terminal: „man ztna“, „man ztna-why“ und so weiter, oder „ztna help“. Ihr Support weiß, was in Ihrer Firma dazukommt.
licences = Lizenzen
licences-where = Apache-2.0. Was er von anderen enthält, steht mit den Texten der Lizenzen in „licences.txt.gz“ bei den Dokumenten des Pakets, unter Linux in /usr/share/doc/ztna.
open-support = Supportseite öffnen

field-resources = Eine Anwendung suchen
field-decisions = Eine Adresse, ein Programm oder einen Grund suchen
field-settings = Eine Einstellung suchen
field-reason = Wozu brauchen Sie das?

word-permitted = offen für Sie
word-denied = abgelehnt
word-undecided = noch nicht gefragt
word-fails = nicht bestanden
word-passes = bestanden
word-unknown = nicht messbar
word-allowed = erlaubt
word-refused = abgelehnt
word-revoked = beendet
word-good = in Ordnung
word-problem = Problem
word-unclear = nicht bekannt
word-warning = Warnung
word-default = üblich
word-locked = gesperrt
word-set = gesetzt

fact-person = Person
fact-organisation = Firma
fact-session = Sitzung endet in
fact-flows = Offene Verbindungen
fact-names = Namen
fact-ports = Ports
fact-site = Netz
fact-reason = Grund
fact-resource = Anwendung
fact-program = Programm
fact-decided-by = Entschieden von
fact-policy = Richtlinie
fact-approver = Kann gewährt werden von
fact-until = Gilt bis
fact-took = Dauerte
fact-count = Gleiche Entscheidungen
fact-window = Dieses Fenster
fact-service = Dienst
fact-server = Server
fact-configuration = Konfiguration
fact-support = Support
fact-socket = Zugang zum Dienst
fact-preferences = Was Ihnen gefällt

code-read-out = Schicken Sie dies dem Helpdesk, oder lesen Sie es vor. Er macht einen Code dafür, der für nichts anderes gilt.
code-copy = Beides kopieren
code-redeem = Mit diesem Code ausschalten
fact-device = Gerät
fact-challenge = Aufgabe
fact-challenge-left = Zu beantworten innerhalb von
fact-help-desk = Helpdesk
field-code = Der Code
field-pause-reason = Warum?
hindrance-code = Fügen Sie zuerst den Code ein.
