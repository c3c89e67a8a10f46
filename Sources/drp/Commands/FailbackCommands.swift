internal import ArgumentParser
internal import DRPKit
internal import Migrate

struct FailbackCommands: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "failback", abstract: "Bring the clients of a site that is there again back to it.",
        discussion: """
            Examples:
              drp failback plan par-dc3 --identity recovery.key
              drp failback run par-dc3 --discard-old --identity recovery.key --confirm par-dc3
            """,
        subcommands: [Plan.self, Run.self])

    struct Options: ParsableArguments {
        @Argument(help: ArgumentHelp("The site that is there again.", valueName: "site"))
        var site: SiteName

        @Option(name: .long, parsing: .upToNextOption, help: ArgumentHelp("Only these clients.", valueName: "client"))
        var only: [ClientID] = []

        @Option(name: .long, help: ArgumentHelp("Why it must be in a client's business hours.", valueName: "text"))
        var reason: String?

        @OptionGroup var identity: IdentityOption
        @OptionGroup var common: CommonOptions

        /// Of all clients that live elsewhere now, and that the fleet file has at the site or a failover took away from it.
        /// - Parameter discards: whether what the site still holds of them goes.
        func move(discards: Bool) async throws -> Move {
            let composition = try await common.composition(identity: identity.identity)
            guard composition.fleet.site(site) != nil else { throw FailoverCommands.Lost.unknown(site, composition) }
            if try await composition.journal.declaration(of: site) != nil {
                throw UsageError(
                    "\(site) is declared lost",
                    advice: "If it is there again: drp failover withdraw \(site) --reason TEXT.")
            }
            _ = try composition.clients(only)
            let places = Dictionary(
                try await composition.journal.placements().map { ($0.client, $0.site) }, uniquingKeysWith: { $1 })
            let taken = try await composition.journal.runs(limit: .max).filter {
                $0.kind == "failover" && $0.state == .done && $0.inputs["source"] == site.text
            }.map(\.client)
            let away = composition.fleet.clientsByPriority.filter { client in
                let isWanted =
                    only.isEmpty ? client.site == site || taken.contains(client.id) : only.contains(client.id)
                return isWanted && places[client.id] ?? client.site != site
            }
            guard !away.isEmpty else {
                throw UsageError(
                    "no client of \(site) lives elsewhere",
                    advice: "To move a client there: drp migrate run CLIENT --to \(site).")
            }
            return Move(
                clients: away.map(\.id), to: site, runbook: "failback",
                more: ["at": "latest", "old": discards ? "discard" : "keep"], reason: reason, common: common,
                identity: identity.identity)
        }
    }

    struct Plan: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Show every step of the way back, and change nothing.",
            discussion: """
                Examples:
                  drp failback plan par-dc3 --identity recovery.key
                """)

        @OptionGroup var options: Options

        func run() async throws { try await options.move(discards: false).plan() }
    }

    struct Run: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Bring them back now, one after the other, and back them up there.",
            discussion: """
                Examples:
                  drp failback run par-dc3 --discard-old --identity recovery.key --confirm par-dc3
                  drp failback run par-dc3 --only acme --discard-old --identity recovery.key --confirm par-dc3

                What the site took in its last minutes and no backup holds is only there: look at it before you give --discard-old.
                Without it, a client whose old databases still hold data is refused.
                """)

        @OptionGroup var options: Options

        @Flag(name: .long, help: "What the site still holds of these clients is taken away.")
        var discardOld = false

        @Option(name: .long, help: ArgumentHelp("The site's name.", valueName: "site"))
        var confirm: String?

        func run() async throws {
            guard confirm == options.site.text else {
                throw UsageError(
                    "this moves clients back to \(options.site)",
                    advice: "See `drp failback plan \(options.site)`, then give --confirm \(options.site)",
                    code: .confirmationMissing)
            }
            try await options.move(discards: discardOld).run()
        }
    }
}
