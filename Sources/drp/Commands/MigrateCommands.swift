internal import ArgumentParser
internal import DRPKit
internal import Foundation
internal import Migrate

struct MigrateCommands: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "migrate", abstract: "Move clients to another site: redeploy, restore, compare, switch.",
        discussion: """
            Examples:
              drp migrate plan acme --to par-dc5 --identity recovery.key
              drp migrate run acme --to par-dc5 --identity recovery.key --confirm acme
            """,
        subcommands: [Plan.self, Run.self])

    struct Options: ParsableArguments {
        @Argument(help: ArgumentHelp("Clients, moved in order of their priority.", valueName: "client"))
        var clients: [ClientID]

        @Option(name: .long, help: ArgumentHelp("The site to move to.", valueName: "site"))
        var to: SiteName

        @Option(name: .long, help: ArgumentHelp("`latest` or a backup's number.", valueName: "backup"))
        var at = "latest"

        @Flag(name: .long, help: "Their site is lost: they come from their last backups.")
        var sourceLost = false

        @Option(name: .long, help: ArgumentHelp("Why it must be in a client's business hours.", valueName: "text"))
        var reason: String?

        @OptionGroup var identity: IdentityOption
        @OptionGroup var common: CommonOptions

        /// Of the promise that a failover is just a migration, the part that differs.
        var move: Move {
            Move(
                clients: clients, to: to, runbook: sourceLost ? "failover" : "migrate", more: ["at": at],
                reason: reason,
                isPlanned: !sourceLost, common: common, identity: identity.identity)
        }
    }

    struct Plan: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Show every step of a move, and change nothing.",
            discussion: """
                Examples:
                  drp migrate plan acme --to par-dc5 --identity recovery.key
                """)

        @OptionGroup var options: Options

        func run() async throws {
            try await options.move.plan()
        }
    }

    struct Run: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Move clients now; with --source-lost from their last backups.",
            discussion: """
                Examples:
                  drp migrate run acme --to par-dc5 --identity recovery.key --confirm acme
                  drp migrate run acme birch --to par-dc5 --identity recovery.key --confirm par-dc5
                  drp migrate run acme --to par-dc5 --source-lost --identity recovery.key --confirm acme

                The source is kept from writing for the last part: that is the downtime. A step that fails leaves its run waiting:
                mend the cause, then `drp runs resume RUN`. One client that fails never stops the others.
                """)

        @OptionGroup var options: Options

        @Option(
            name: .long, help: ArgumentHelp("The client's name; with several clients, the site's.", valueName: "name"))
        var confirm: String?

        func run() async throws {
            let wanted = options.clients.count == 1 ? options.clients[0].text : options.to.text
            guard confirm == wanted else {
                throw UsageError(
                    "this redeploys \(options.clients.map(\.text).joined(separator: ", ")) and moves their traffic to \(options.to)",
                    advice: "See `drp migrate plan`, then give --confirm \(wanted)", code: .confirmationMissing)
            }
            try await options.move.run()
        }
    }
}

struct MigratePlanAnswer: Answer {
    struct Plan: Encodable {
        var client: ClientID
        var target: SiteName
        var runbook: String
        var steps: [StepPlan]
    }

    var plans: [Plan] = []

    var text: String {
        plans.map { plan in
            var lines = ["\(plan.client) to \(plan.target), by \(plan.runbook); nothing was changed"]
            for (index, step) in plan.steps.enumerated() {
                let time =
                    step.predictedSeconds.map { "about \(Text.seconds($0))" } ?? "time unknown (under three runs)"
                lines.append("  \(index + 1). \(step.name)  \(time)")
                lines += step.lines.map { "       \(Text.safe($0))" }
            }
            return lines.joined(separator: "\n")
        }.joined(separator: "\n\n")
    }
}
