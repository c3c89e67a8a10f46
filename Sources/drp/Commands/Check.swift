internal import ArgumentParser
internal import Backup
internal import DRPKit
internal import Foundation
internal import Migrate

struct Check: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Try everything that backups and migrations rely on, and change nothing.",
        discussion: """
            Examples:
              drp check
              drp check acme --json
            """)

    @Argument(help: ArgumentHelp("Clients; all without any.", valueName: "client"))
    var clients: [ClientID] = []

    @OptionGroup var common: CommonOptions

    func run() async throws {
        let composition = try await common.composition()
        let wanted = try composition.clients(clients)
        var checker = Checker(composition: composition)
        await checker.checkFleet()
        await checker.checkStores(of: wanted)
        for client in wanted { await checker.check(client) }
        await checker.checkAlarms(of: wanted)
        try Output.answer(checker.answer, json: common.json)
        if let code = checker.answer.code { throw ExitStatus(code) }
    }
}

/// Asks one thing after the other; what fails becomes a row and ends nothing.
private struct Checker {
    let composition: Composition
    var answer = CheckAnswer()

    mutating func checkFleet() async {
        for problem in composition.warnings { answer.add("fleet", .warning, Text.safe(problem.description)) }
        let inactive = composition.fleet.inactiveParts()
        if !inactive.isEmpty {
            answer.add("fleet", .note, "read, but not active in this version: \(inactive.joined(separator: ", "))")
        }
        await checkEvents()
        await checkSites()
        do {
            for lease in try await composition.journal.leases() {
                answer.add(
                    "leases", .note,
                    "\(lease.name) is held by process \(lease.pid) since \(Text.shortTime(lease.since))")
            }
        } catch { answer.fail("leases", error) }
        for settings in BundleShipper.stores(of: composition.fleet) { await checkBundle(in: settings) }
        if composition.fleet.traffic != nil {
            await row("traffic") { [composition] in
                guard let traffic = try await composition.stepWorld().traffic else { return "none" }
                let domains = composition.fleet.clients.flatMap(\.domains)
                for domain in domains { _ = try await traffic.records.read(domain) }
                let races =
                    traffic.records.comparesAndSets
                    ? "" : "; it does not compare and set: let nobody else change them while drp switches"
                return "the zone's server answers for \(domains.count) domains\(races)"
            }
        }
    }

    /// The way into each site that has a bastion, tried: its certificate, its bastion, its hosts.
    private mutating func checkSites() async {
        let ssh = composition.ssh
        for site in composition.fleet.sites where ssh.leads(to: site.name) {
            do {
                let certificate = try await ssh.certificate(site.name)
                let ends = certificate.ends.map { "ends at \($0.formatted(.iso8601))" } ?? "never ends"
                answer.add(
                    "site \(site.name): certificate", certificate.ends == nil ? .warning : .ok,
                    "\(certificate.keyID), for \(certificate.principals.joined(separator: ", ")), \(ends)")
            } catch {
                // Without it nothing else can be tried.
                answer.fail("site \(site.name): certificate", error)
                continue
            }
            await row("site \(site.name): bastion") {
                let bastion = try await ssh.bastion(site.name)
                try await bastion.connect()
                return "\(bastion.endpoint.place) answers as \(bastion.endpoint.user)"
            }
            for host in site.hosts {
                await row("site \(site.name): host \(host.name)") {
                    let reached = try await ssh.host(site.name, named: host.name)
                    let result = try await reached.run(["true"], deadline: .seconds(20))
                    guard result.status == .exited(0) else {
                        throw UsageError(
                            "it runs no commands: \(result.status)",
                            advice: "The account's shell must be one of POSIX's kind.", code: .siteDenied)
                    }
                    return "\(reached.endpoint.place) answers as \(reached.endpoint.user), through the bastion"
                }
            }
        }
    }

    /// What each store can do, tried: in a bucket with an object that goes again.
    mutating func checkStores(of clients: [Client]) async {
        var seen: Set<StoreName> = []
        var locking: [StoreName: Bool] = [:]
        for settings in clients.flatMap({ composition.fleet.stores(of: $0) }) where seen.insert(settings.name).inserted
        {
            do {
                let found = try await Composition.openStore(settings).capabilities()
                answer.add("store \(settings.name)", .ok, found.words)
                if let ends = found.accessEnds, ends < composition.clock.now + 14 * 86_400 {
                    answer.add(
                        "store \(settings.name)", .warning,
                        "its SAS ends at \(Text.shortTime(ends)): make another, and put it where the fleet file says")
                }
                locking[settings.name] = found.locks
                try await composition.watch.look(at: settings.name, found.guards)
            } catch { answer.fail("store \(settings.name)", error) }
        }
        for client in clients {
            do {
                try await composition.watch.look(atLocksOf: client, in: composition.fleet, locking: locking)
            } catch { answer.fail("\(client.id): locks", error) }
        }
    }

    mutating func checkAlarms(of clients: [Client]) async {
        do {
            for alarm in try await composition.alarms(of: clients) {
                answer.fail("alarm \(alarm.id)", AlarmError(alarm))
            }
        } catch { answer.fail("alarms", error) }
    }

    private mutating func checkEvents() async {
        do {
            let verdict = try await composition.journal.verifyEvents()
            guard verdict.problems.isEmpty else {
                throw UsageError(
                    "its events were edited: \(verdict.problems.joined(separator: "; "))",
                    advice: ErrorCode.evidenceBroken.advice, code: .evidenceBroken)
            }
            answer.add("journal", .ok, "\(verdict.count) events, the chain is whole; note its head elsewhere:")
            answer.add("head of event \(verdict.count)", .ok, "\(verdict.head)")
        } catch { answer.fail("journal", error) }
    }

    /// Whether a new machine would get everything back from this store.
    private mutating func checkBundle(in settings: StoreSettings) async {
        let what = "bundle in \(settings.name)"
        do {
            let state = try await composition.journal.bundleState(in: settings.name)
            guard let entry = state.entry, let stored = state.stored else {
                let why = state.failure.map { ": \($0)" } ?? "; each `drp backup run` stores one"
                answer.add(what, .warning, "none yet" + why)
                return
            }
            let age = Text.seconds(max(0, composition.clock.now.timeIntervalSince(stored)))
            let text = "number \(entry.number), \(age) old"
            if let failure = state.failure {
                answer.add(what, .warning, "\(text); a newer one could not be stored: \(failure)")
            } else if let lack = entry.lacks.first {
                answer.add(what, .warning, "\(text), and it lacks \(entry.lacks.count) things: \(lack)")
            } else {
                answer.add(what, .ok, text)
            }
        } catch { answer.fail(what, error) }
    }

    mutating func check(_ client: Client) async {
        let fleet = composition.fleet
        do { try await composition.journal.requireNotErased(client.id) } catch {
            return answer.fail("\(client.id): erased", error)
        }
        var place: ClientPlace?
        do {
            let found = try ClientPlace(client, placement: try await composition.journal.placement(of: client.id))
            if found.isMoved {
                answer.add(
                    "\(client.id): place", .warning,
                    "it lives at \(found.site) since a switch; the fleet file still says \(client.site): change `site` there"
                )
            } else {
                answer.add("\(client.id): place", .ok, "\(found.site)")
            }
            place = found
        } catch { answer.fail("\(client.id): place", error) }
        if let place { await checkServices(client, place) }
        await row("\(client.id): keys") { [composition] in
            let keys = try composition.keys(of: client)
            return "epoch \(keys.epoch), fingerprint \(keys.fingerprint)"
        }
        for settings in fleet.stores(of: client) {
            await row("\(client.id): store \(settings.name)") { [composition] in
                let repository = try await composition.repository(of: client, in: settings)
                try await composition.watch.look(
                    at: settings.name, try await repository.holdings(), of: client.id, repository.keys.client)
                guard let latest = try await repository.latest() else { return "no backup yet" }
                return "newest backup \(latest.number), of \(Text.shortTime(latest.instant))"
            }
        }
        if fleet.stores(of: client).count > 1 {
            for (store, numbers) in await composition.lacking(client).sorted(by: { $0.key < $1.key }) {
                answer.add(
                    "\(client.id): store \(store)", .warning,
                    "it lacks \(Text.numbers(numbers)), which other stores have: drp store sync \(client.id)")
            }
        }
    }

    private mutating func checkServices(_ client: Client, _ place: ClientPlace) async {
        let (resolver, way) = (composition.resolver, composition.reach.way(into: place.site, host: place.host))
        for source in [place.services.mongo?.uri, place.services.redis?.uri].compactMap({ $0 })
        where resolver.isWorldReadable(source) == true {
            answer.add(
                "\(client.id): secrets", .warning, "\(source) can be read by everyone on this machine: chmod 600")
        }
        if place.services.mongo != nil {
            await row("\(client.id): mongo") {
                let databases = try await ClientDatabases(
                    Services(mongo: place.services.mongo), side: .source, resolver: resolver, way: way)
                guard let settings = databases.mongo else { return "none" }
                let server = try await MongoPreflight.checkSource(settings: settings)
                return "MongoDB \(server.version), replica set \(server.setName ?? "?"), can be captured at one instant"
            }
        }
        if place.services.redis != nil {
            await row("\(client.id): redis") {
                let databases = try await ClientDatabases(
                    Services(redis: place.services.redis), side: .source, resolver: resolver, way: way)
                guard let settings = databases.redis else { return "none" }
                try await RedisServer.ping(settings)
                return "answers"
            }
        }
    }

    private mutating func row(_ what: String, _ body: () async throws -> String) async {
        do { answer.add(what, .ok, try await body()) } catch { answer.fail(what, error) }
    }
}

struct CheckAnswer: Answer {
    enum State: String, Encodable { case ok, note, warning, failed }

    struct Row: Encodable {
        var what: String
        var state: State
        var text: String
        var code: ErrorCode?
        var advice: String?
    }

    var rows: [Row] = []

    mutating func add(_ what: String, _ state: State, _ text: String) {
        rows.append(Row(what: what, state: state, text: text, code: nil, advice: nil))
    }

    mutating func fail(_ what: String, _ error: any Error) {
        let error = error as? any DRPError ?? UsageError("\(error)", advice: ErrorCode.failed.advice, code: .failed)
        rows.append(Row(what: what, state: .failed, text: error.message, code: error.code, advice: error.advice))
    }

    /// nil if nothing failed.
    var code: ErrorCode? {
        let codes = rows.compactMap(\.code)
        return codes.count > 1 ? .partial : codes.first
    }

    var text: String {
        rows.map { row in
            let name = row.what + String(repeating: " ", count: max(0, 24 - row.what.count))
            let state =
                row.state == .failed
                ? "FAILED " : row.state.rawValue + String(repeating: " ", count: 7 - row.state.rawValue.count)
            let code = row.code.map { " [\($0.rawValue)]" } ?? ""
            let advice = row.advice.map { "\n" + String(repeating: " ", count: 33) + "next: \($0)" } ?? ""
            return "\(state)  \(name)\(Text.safe(row.text))\(code)\(advice)"
        }.joined(separator: "\n")
    }
}

extension StoreCapabilities {
    fileprivate var words: String {
        ([
            createsOnly ? "refuses a second writer" : "lets a second writer replace: claims keep writers apart",
            keepsVersions ? "keeps versions" : "keeps no versions", locks ? "locks objects" : "has no locks",
        ] + (replacesConditionally ? ["replaces conditionally"] : [])).joined(separator: ", ")
    }
}
