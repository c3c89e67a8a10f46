internal import ArgumentParser
internal import DRPKit
internal import Foundation

@main
struct DRP: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "drp",
        abstract: "Backup, migration and failover of clients' MongoDB and Redis, proven each month.",
        discussion: """
            Examples:
              drp keys init --identity recovery.key     make the key that opens backups; keep it elsewhere
              drp config check                          is the fleet file right?
              drp keys init acme                        make the client's keys and repositories
              drp backup run acme                       back up one client now
              drp migrate plan acme --to par-dc5 --identity recovery.key
              drp migrate run acme --to par-dc5 --identity recovery.key --confirm acme

            The fleet file is ./fleet.yaml, else /etc/drp/fleet.yaml, else --fleet FILE.
            Exit status: 0 done, 1 failed, 2 wrong use or fleet file, 3 done in part, 10-13 repository, 20-21 source,
            30-32 target, 40 a step failed and the run waits, 75 try again later.
            """,
        version: "0.1.0",
        subcommands: [
            AlarmCommands.self, BackupCommands.self, BootstrapCommand.self, CatalogCommands.self, Check.self,
            ConfigCommands.self, DrillCommands.self, EraseCommands.self, EventsCommands.self, FailbackCommands.self,
            FailoverCommands.self, FenceCommand.self, GuardCommand.self, HoldCommands.self, KeysCommands.self,
            MigrateCommands.self, PruneCommands.self, ReportCommands.self, RestoreCommands.self,
            RunbookCommands.self, RunsCommands.self, Serve.self, StoreCommands.self, TrafficCommands.self,
            UnfenceCommand.self,
        ])

    static func main() async {
        let status = await status()
        await Composition.close()
        leave(status)
    }

    /// Runs the command.
    private static func status() async -> Int32 {
        let arguments = Array(CommandLine.arguments.dropFirst())
        do {
            var command = try DRP.parseAsRoot(arguments)
            if var asynchronous = command as? any AsyncParsableCommand {
                try await asynchronous.run()
            } else {
                try command.run()
            }
            return 0
        } catch let status as ExitStatus {
            return status.value
        } catch let error as any DRPError {
            Output.error(error, json: arguments.contains("--json"))
            return error.code.exitStatus
        } catch {
            // ArgumentParser's own: help and version go to stdout with 0, wrong use to stderr; its 64 becomes our 2.
            let code = DRP.exitCode(for: error)
            if code == .success || code == .validationFailure {
                let text = DRP.fullMessage(for: error)
                code == .success ? Output.say(text) : Output.note(text)
                return code == .success ? 0 : ErrorCode.usage.exitStatus
            }
            Output.error(error, json: arguments.contains("--json"))
            return ErrorCode.failed.exitStatus
        }
    }
}

/// Ends the command with a status, after it has said why.
struct ExitStatus: Error {
    var value: Int32
    init(_ code: ErrorCode) { value = code.exitStatus }
}

/// Outside the command, whose own `exit` hides that of the C library.
private func leave(_ status: Int32) -> Never { exit(status) }
