internal import ArgumentParser
internal import Backup
internal import DRPKit
internal import Foundation
internal import Migrate

struct TrafficCommands: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "traffic", abstract: "Show where clients' domains lead, and change it by hand.",
        discussion: """
            Examples:
              drp traffic show acme
              drp traffic switch acme --to par-dc5
              drp traffic rollback acme --confirm acme
            """,
        subcommands: [Show.self, Switch.self, Rollback.self])

    struct Show: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Show what the zone, every authority and the resolvers say, and what differs from the journal.",
            discussion: """
                Examples:
                  drp traffic show
                  drp traffic show acme --json

                Ends with 32 while something differs.
                """)

        @Argument(help: ArgumentHelp("Clients; all without any.", valueName: "client"))
        var clients: [ClientID] = []

        @OptionGroup var common: CommonOptions

        func run() async throws {
            let composition = try await common.composition()
            let zone = try await composition.zone()
            var answer = TrafficAnswer()
            for client in try composition.clients(clients) {
                let expected = try await composition.expectedTraffic(client)
                let newest = try await composition.journal.newestSwitches(of: client.id)
                var domains: [DomainView] = []
                for domain in client.domains {
                    domains.append(try await zone.view(domain, expected: expected, last: newest[domain]))
                }
                answer.clients.append(.init(client: client.id, expected: expected, domains: domains))
            }
            try Output.answer(answer, json: common.json)
            if let code = answer.code { throw ExitStatus(code) }
        }
    }

    struct Change: ParsableArguments {
        @Argument(help: ArgumentHelp("The client.", valueName: "client"))
        var client: ClientID

        @Option(
            name: .long,
            help: ArgumentHelp("The client's name again; without it nothing is changed.", valueName: "client"))
        var confirm: ClientID?

        @Option(
            name: .long,
            help: ArgumentHelp("How long authorities get to serve the new records, as 60s.", valueName: "duration"),
            transform: { text in
                guard let duration = DurationText.parse(text), duration <= .seconds(3600) else {
                    throw ValidationError("--wait takes a duration of 1h at most, as 60s.")
                }
                return duration
            })
        var wait: Duration?

        @OptionGroup var common: CommonOptions

        struct Plan: Sendable {
            var changes: [HandSwitch.Change]
            /// Of the site that the domains are sent to, where it has HAProxies.
            var frontends: [FrontendAnswer]?
        }

        /// Plans, and with the client's name given again does it, while nothing else works on the client.
        /// - Parameter plan: Is told whether the plan will be carried out, and may do then what has to come before.
        func carryOut(
            again: String,
            _ plan: @escaping @Sendable (Composition, HandSwitch, Client, _ isReal: Bool) async throws -> Plan
        ) async throws {
            let display = ProgressDisplay(json: common.json)
            let composition = try await common.composition(progress: display)
            let client = try composition.client(client)
            let hand = HandSwitch(
                zone: try await composition.zone(), journal: composition.journal, clock: composition.clock)
            guard confirm == client.id else {
                if let confirm {
                    throw UsageError(
                        "--confirm says \(confirm), and this changes the records of \(client.id)",
                        advice: "Give --confirm \(client.id)", code: .confirmationMissing)
                }
                let plan = try await plan(composition, hand, client, false)
                return try Output.answer(
                    TrafficPlanAnswer(
                        client: client.id, changes: plan.changes, frontends: plan.frontends, again: again),
                    json: common.json)
            }
            try await composition.shipping {
                let (by, patience) = (RunWork.person, wait ?? .seconds(60))
                let (results, frontends) = try await composition.journal.holding("client/\(client.id)") { _ in
                    // Once more, since only now nobody else of ours can change them.
                    let plan = try await plan(composition, hand, client, true)
                    let results = try await hand.make(plan.changes, of: client.id, by: by, patience: patience) {
                        Output.note(Text.safe($0))
                    }
                    return (results, plan.frontends)
                }
                let place = try await composition.trafficPlace(client)
                let answer = TrafficSwitchAnswer(
                    client: client.id, site: place.site, results: results, frontends: frontends)
                try Output.answer(answer, json: common.json)
                if answer.isStale { throw ExitStatus(.targetDiffers) }
            }
        }
    }

    struct Switch: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Send a client's domains to a site or to addresses; without --confirm only show it.",
            discussion: """
                Examples:
                  drp traffic switch acme --to par-dc5
                  drp traffic switch acme --to par-dc5 --confirm acme
                  drp traffic switch acme --to 10.0.0.5 10.0.0.6 --confirm acme

                Records alone change: nothing is deployed, restored or compared, and the journal goes on saying where the client
                lives. Of a site with HAProxies those are left out that are dead or do not lead to the client. For a move with its data see `drp migrate`. Records that are not the client's own are refused. Ends with 32
                if an authority does not serve the new records in time; then the switch is made nevertheless.
                """)

        @OptionGroup var change: Change

        @Option(
            name: .long, parsing: .upToNextOption,
            help: ArgumentHelp("A site, or IPv4 addresses.", valueName: "site|address"))
        var to: [TrafficTarget]

        func run() async throws {
            let to = to
            let again = "drp traffic switch \(change.client) --to \(to.map(\.text).joined(separator: " "))"
            try await change.carryOut(again: again) { composition, hand, client, isReal in
                let place = try await composition.trafficPlace(client)
                var addresses = try composition.target(to)
                var frontends: [FrontendAnswer]?
                if case .site(let name) = to.first, let site = composition.fleet.site(name),
                    let known = composition.frontends(site)
                {
                    let answers = try await isReal ? known.agree(client.id) : known.look(client.id)
                    addresses = try Frontends.leading(answers, client.id)
                    frontends = answers
                }
                let changes = try await hand.plan(
                    client, uuid: try composition.keys(of: client).client, at: place, to: addresses,
                    // Its data stay where they are: the hosts' guards go by the mark.
                    site: place.site)
                return .init(changes: changes, frontends: frontends)
            }
        }
    }

    struct Rollback: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Put back what stood there before the last switch by hand; without --confirm only show it.",
            discussion: """
                Examples:
                  drp traffic rollback acme
                  drp traffic rollback acme --confirm acme

                The old records come from the journal. Records that somebody changed since are left alone. A switch that a run has
                made goes back with its run: `drp runs rollback RUN`.
                """)

        @OptionGroup var change: Change

        func run() async throws {
            try await change.carryOut(again: "drp traffic rollback \(change.client)") { composition, hand, client, _ in
                .init(
                    changes: try await hand.planRollback(
                        client, uuid: try composition.keys(of: client).client,
                        at: try await composition.trafficPlace(client)))
            }
        }
    }
}

/// Where to: a site's name, or an IPv4 address, which is no name.
enum TrafficTarget: ExpressibleByArgument, Sendable {
    case site(SiteName)
    case address(String)

    init?(argument: String) {
        if NetworkText.isIPv4(argument) {
            self = .address(argument)
        } else if let site = SiteName(argument) {
            self = .site(site)
        } else {
            return nil
        }
    }

    var text: String {
        switch self {
        case .site(let site): site.text
        case .address(let address): address
        }
    }
}

extension Composition {
    fileprivate func zone() async throws -> TrafficZone {
        if let zone = try await traffic() { return zone }
        throw UsageError(
            "the fleet file has no `traffic`, so there are no records to ask for",
            advice: "Write `traffic:` in the fleet file; see docs/reference/fleet-file.md.", code: .fleetInvalid)
    }

    fileprivate func trafficPlace(_ client: Client) async throws -> HandSwitch.Place {
        let placement = try await journal.placement(of: client.id)
        let site = placement?.site ?? client.site
        return HandSwitch.Place(
            site: site, addresses: fleet.site(site)?.frontends.map(\.address) ?? [], epoch: Int(placement?.epoch ?? 0))
    }

    fileprivate func expectedTraffic(_ client: Client) async throws -> ExpectedTraffic {
        let place = try await trafficPlace(client)
        // Without keys there is no mark to compare with.
        let uuid = try? keys(of: client).client
        let site = fleet.site(place.site)
        return ExpectedTraffic(
            site: place.site, addresses: place.addresses, isOneEach: site?.docker != nil,
            frontends: try await site.flatMap(frontends)?.look(client.id), epoch: place.epoch, uuid: uuid)
    }

    fileprivate func target(_ targets: [TrafficTarget]) throws -> [String] {
        let addresses = targets.compactMap { if case .address(let address) = $0 { address } else { nil } }
        if case .site(let name) = targets.first, targets.count == 1 {
            guard let site = fleet.site(name) else { throw FailoverCommands.Lost.unknown(name, self) }
            let known = site.frontends.map(\.address)
            guard !known.isEmpty, site.docker == nil || known.count == 1 else {
                throw UsageError(
                    known.isEmpty
                        ? "site \(name) has no frontends" : "at site \(name) each client has an address to itself",
                    advice: known.isEmpty
                        ? "Give addresses: --to ADDRESS…"
                        : "Give the client's: --to ADDRESS, one of \(known.joined(separator: ", "))")
            }
            return known
        }
        guard addresses.count == targets.count, Set(addresses).count == addresses.count else {
            throw UsageError(
                "--to takes one site, or addresses that differ", advice: "See `drp traffic switch --help`.")
        }
        let owners = Set(
            fleet.sites.filter { site in site.frontends.contains { addresses.contains($0.address) } }.map(\.name))
        guard owners.count < 2 else {
            throw UsageError(
                "these addresses belong to several sites: \(owners.map(\.text).sorted().joined(separator: ", "))",
                advice: "Send a client to one site.")
        }
        return addresses
    }
}
