# What the window says beside the texts of the tray.

page-overview = Overview
page-resources = Applications
page-device = This device
page-decisions = Decisions
page-diagnostics = Diagnostics
page-settings = Settings
page-help = Help
page-about = About

pages = Pages
page-chosen = Page
dismiss = Close
copied = Copied: { $text }
without-service = Nothing is known while the connector does not run. This page comes back by itself. In a terminal, “ztna service status” says more.

session = Session
sign-in-why = Sign in to reach your company's applications.
see-device = See what to mend
see-diagnostics = Look for the cause
pause-means = While the connector is off, protected applications cannot be reached.
requests = What you asked for
traffic = Traffic
traffic-down = Receiving { $rate }
traffic-up = Sending { $rate }
traffic-delay = To “{ $site }” and back: { $time }
per-second = { $amount }/s
carried = { $down } received, { $up } sent
graph-name = { $label }, over two minutes

favourites = Favourites
favourite = Add to favourites
favourite-not = Remove from favourites
resources-signed-out = Your applications are shown once you have signed in.
resources-empty = Your company has no applications for you. If one is missing, ask your support.
nothing-found = Nothing fits. Look for something else.
copy-address = Copy address
why = Why?
request = Ask for access…
request-for = You ask for access to “{ $title }”. Whoever decides reads your reason.
request-length = For how long?
request-send = Ask for it
cancel = Cancel
hindrance-name = It stands for many names, so there is no single one to ask about.
hindrance-reason = Say why first.
hindrance-service = The connector is not running.
asking = Asking…
check-unmet = A check does not pass: { $title }

device-unknown = Nothing was measured yet. It is once you have signed in.
device-no-checks = Your company asks for no checks of this device.
device-all-pass = Every check of this device passes.
measured-at = Measured at { $time }

show = Show
filter-all = All
filter-permitted = Allowed
filter-refused = Refused
follow = New ones
follow-on = As they come
follow-off = Hold the list
decisions-none = Nothing was decided yet. What your programs reach, or are refused, is listed here.
copy-id = Copy its number

examine = Run checks
examine-means = Looks for whatever can be wrong: service, clock, network, gateways, other VPNs. It takes a few seconds and changes nothing.
examining = Looking…
examined-fine = All is as it should be.
examined-wrong =
    { $count ->
        [one] One thing is not as it should be.
       *[other] { $count } things are not as they should be.
    }
bundle = A file for your support
bundle-means = Writes what the connector knows into a file of yours. Nothing is sent; look through it before you share it.
bundle-create = Create a file
bundle-anonymized = Create one with names replaced
bundle-awaited = Writing…
bundle-written = Written to { $path }
bundle-no-command = The program “ztna” is not where this one is. In a terminal: ztna debug bundle
bundle-failed = It could not be written: { $problem }
copy-path = Copy path

theme = Colours of this window
theme-system = As the desktop
theme-light = Light
theme-dark = Dark
settings-service = The connector
settings-means = They apply to everybody on this computer. To change one, see “man ztna”.
settings-unknown = Its settings are shown while it runs.
settings-hidden = Its settings are not shown to you at the moment.
setting-empty = (nothing)
setting-origin = From { $origin }

guide-what = What is this?
guide-what-answer = It decides for each connection to one of your company's applications whether you may make it, from this device and with this program, and carries what you may. Everything else on this computer goes its usual way, and it does not look at it.
guide-sign-in = How do I sign in, and for how long?
guide-sign-in-answer = Choose “Sign in…”. Your browser opens, and the page says when you are done. The menu shows when the session ends; signing in again makes it longer.
guide-refused = Why was something refused?
guide-refused-answer = The message says why and what to do. “Recently refused” in the menu and the page “Decisions” keep it. If somebody can grant access, you can ask for it on the page “Applications”.
guide-device = What if this device does not meet the rules?
guide-device-answer = The page “This device” says which check does not pass and how to mend that. Then choose “Check again”: access comes back by itself.
guide-off = What happens when I switch it off?
guide-off-answer = Protected applications cannot be reached until it is on again; everything else can. Your company may limit how long it stays off, or want a reason.
guide-away = What if there is no network, or the company's server does not answer?
guide-away-answer = What was agreed last holds for a while, and the menu says how long. After that, protected applications cannot be reached until the server answers again.
guide-wrong = What if something does not work?
guide-wrong-answer = Choose “Run checks…” in the menu: each thing that is wrong comes with what to do. If that does not help, write a file for your support on the page “Diagnostics”. There are no passwords and no contents of connections in it.
guide-recorded = What is recorded about me?
guide-recorded-answer = Each decision about a protected application: who, from which device, with which program, to what, when, and why so. Never what you send or read, and nothing about other connections.

documentation = Documentation
documentation-where = In a terminal: “man ztna”, “man ztna-why” and so on, or “ztna help”. Your support knows what your company adds.
licences = Licences
licences-where = Apache-2.0. What it contains from others, with the texts of their licences, is in “licences.txt.gz” among the package's documents, on Linux in /usr/share/doc/ztna.
open-support = Open the support page

field-resources = Look for an application
field-decisions = Look for an address, a program or a reason
field-settings = Look for a setting
field-reason = Why do you need it?

word-permitted = open to you
word-denied = refused
word-undecided = not asked yet
word-fails = does not pass
word-passes = passes
word-unknown = could not be measured
word-allowed = allowed
word-refused = refused
word-revoked = ended
word-good = fine
word-problem = problem
word-unclear = not known
word-warning = warning
word-default = usual
word-locked = locked
word-set = set

fact-person = Person
fact-organisation = Company
fact-session = Session ends in
fact-flows = Open connections
fact-names = Names
fact-ports = Ports
fact-site = Network
fact-reason = Reason
fact-resource = Application
fact-program = Program
fact-decided-by = Decided by
fact-policy = Policy
fact-approver = Can be granted by
fact-until = Holds until
fact-took = Took
fact-count = Decisions alike
fact-window = This window
fact-service = Service
fact-server = Server
fact-configuration = Configuration
fact-support = Support
fact-socket = The service's endpoint
fact-preferences = What you like

code-read-out = Send this to the help desk, or read it out. They make a code for it, and for nothing else.
code-copy = Copy both
code-redeem = Switch off with this code
fact-device = Device
fact-challenge = Challenge
fact-challenge-left = Answered within
fact-help-desk = Help desk
field-code = The code
field-pause-reason = Why?
hindrance-code = Paste the code first.
