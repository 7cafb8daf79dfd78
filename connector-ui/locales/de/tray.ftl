# Was das Symbol sagt. Einfache Worte: wer das liest, muss nicht wissen, was ein Tunnel ist.

state-blocked-by-device = Gesperrt: dieses Gerät erfüllt die Regeln nicht
state-blocked-by-network = Gesperrt: das Netz Ihrer Firma antwortet nicht
state-connected = Verbunden
state-connecting = Verbindung wird aufgebaut …
state-in-use = An diesem Computer ist jemand anderes angemeldet
state-not-running = Der Connector läuft nicht
state-offline = Verbunden, aber der Server Ihrer Firma ist nicht erreichbar
state-paused = Ausgeschaltet
state-restricted = Verbunden, mit Einschränkungen
state-signed-out = Abgemeldet
state-signing-in = Wartet auf Ihre Anmeldung
state-starting = Startet …
state-warning = Verbunden, mit einer Warnung

advice-in-use = Bitten Sie um Abmeldung, und melden Sie sich dann selbst an.
advice-network = Es wird ständig neu versucht. Prüfen Sie Ihr Netz.
advice-not-running = Geschützte Anwendungen sind nicht erreichbar. Fragen Sie Ihren Support, wenn es so bleibt.
advice-signing-in = Weiter geht es in Ihrem Browser.
offline = Was zuletzt vereinbart war, gilt noch.
offline-left = Was zuletzt vereinbart war, gilt noch { $left }.
paused-for-good = Geschützte Anwendungen sind nicht erreichbar, bis Sie einschalten.
paused-until = Schaltet sich um { $time } Uhr selbst ein.
trouble-behind = „{ $site }“ ist nicht erreichbar: Das Gateway antwortet, dahinter aber nichts.
trouble-interception = Programme auf diesem Gerät können nicht verbunden werden: { $problem }
trouble-offline = Der Server Ihrer Firma ist nicht erreichbar. { $holds }
trouble-records = Entscheidungen können nicht aufgezeichnet oder abgeliefert werden: { $problem }
trouble-site = „{ $site }“ antwortet nicht.

minutes =
    { $count ->
        [one] eine Minute
       *[other] { $count } Minuten
    }
hours = { $count } Stunden
days = { $count } Tage

signed-in-as = Angemeldet als { $name }
session-left = Endet in: { $left }
extend = Neu anmelden und verlängern
sign-in = Anmelden …
sign-in-again = Anmeldeseite noch einmal öffnen
sign-out = Abmelden

open-window = Fenster öffnen …
connect = Einschalten
pause = Ausschalten
pause-quarter = Für 15 Minuten
pause-hour = Für eine Stunde
pause-tomorrow = Bis morgen früh
pause-on-demand = Bis ich einschalte
pause-longest = Für { $length }
pause-limit = Höchstens { $length }: verwaltet von { $name }
pause-locked = Ausschalten (gesperrt)
pause-needs-reason = Zum Ausschalten gehört ein Grund. Wer dieses Gerät verwaltet, kann ihn nachlesen.
pause-give-reason = Grund angeben …
pause-needs-code = Es bleibt an. Wenn Sie ausschalten müssen, kann der Helpdesk Ihnen einen Code für eine Zeit geben.
pause-enter-code = Nach einem Code fragen …
managed-by = Verwaltet von { $name }

resources = Anwendungen
resources-none = Für Sie gibt es keine
resource-denied = { $title } – abgelehnt
resource-permitted = { $title } – offen für Sie
resource-undecided = { $title }
show-resource = Adresse kopieren, und mehr …
ask-resource = Zugang beantragen, mit Begründung …
site-answers = { $site } – erreicht
site-silent = { $site } – antwortet nicht
site-unknown = { $site }
open = Im Browser öffnen
more =
    { $count ->
        [one] Noch eine Zeile: { $command }
       *[other] Noch { $count }: { $command }
    }

device = Dieses Gerät: alles in Ordnung
device-with =
    { $count ->
        [one] Dieses Gerät: ein Mangel
       *[other] Dieses Gerät: { $count } Mängel
    }
device-unmet =
    { $count ->
        [one] Eine Prüfung dieses Geräts ist nicht bestanden.
       *[other] { $count } Prüfungen dieses Geräts sind nicht bestanden.
    }
device-fine = Jede Prüfung ist bestanden
check-fails = ✗ { $title }
check-passes = ✓ { $title }
check-unknown = ? { $title }
check-again = Neu prüfen
mend = Was zu tun ist: { $remedy }

refused = Kürzlich abgelehnt
refused-ended = { $target } – beendet
refused-program = Gewollt von { $program }
more-refused = Mehr: ztna decisions --denied
request-hour = { $approver } um eine Stunde bitten
request-day = { $approver } um acht Stunden bitten
request-reason = Im Menü erbeten, wo kein Grund angegeben werden kann
request-approved = { $title }: noch gewährt für { $left }
request-denied = { $title }: Ihre Bitte wurde abgelehnt
request-pending = { $title }: erbeten, noch nicht beantwortet

help = Hilfe
help-guide = Dokumentation …
help-check = Prüfungen starten …
help-bundle = Datei für den Support schreiben …
help-commands = Im Terminal: ztna status, ztna why
help-commands-alone = Im Terminal: ztna doctor, ztna service status
support = Support: { $address }
version = Version { $version }
quit = Dieses Symbol entfernen (der Connector läuft weiter)

notice-browser-title = Ihr Browser lässt sich nicht öffnen
notice-browser-body = Öffnen Sie diese Seite selbst: { $page }
notice-window-title = Das Fenster ist nicht installiert
notice-window-body = Im Terminal zeigen „ztna status“, „ztna resources“ und „ztna doctor“ dasselbe.
notice-failed-title = Das hat nicht geklappt
notice-refused-title = „{ $target }“ wurde abgelehnt
notice-gateway-title = „{ $site }“ antwortet nicht mehr
notice-gateway-body = Was Sie dort benutzt haben, ist unterbrochen. Es wird ständig neu versucht.
notice-posture-lost-title = Dieses Gerät braucht Ihre Aufmerksamkeit
notice-posture-lost-body = { $title }. Was zu tun ist: { $remedy }
notice-posture-lost-plain = Manche Anwendungen werden vielleicht abgelehnt.
notice-posture-regained-title = Dieses Gerät ist wieder in Ordnung
notice-posture-regained-body = Jede Prüfung ist bestanden.
notice-requested-title = Sie haben um Zugang gebeten
notice-requested-body = Sie erfahren es, wenn jemand geantwortet hat.
notice-answered-title = Ihre Bitte wurde beantwortet
notice-session-soon-title = Ihre Sitzung endet in: { $left }
notice-session-soon-body = Melden Sie sich neu an, um ohne Pause weiterzumachen.
notice-session-ended-title = Sie sind abgemeldet
notice-session-ended-body = Ihre Sitzung ist vorbei. Melden Sie sich an, um geschützte Anwendungen zu erreichen.
notice-settings-title = Ihre Firma hat die Einstellungen des Connectors geändert
notice-settings-body = Sie gelten ab jetzt; zu tun ist nichts.
notice-managed-title = Einstellungen geändert
notice-managed-body = { $name } hat die Einstellungen des Connectors auf diesem Gerät geändert.
