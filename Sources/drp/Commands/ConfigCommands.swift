internal import ArgumentParser
internal import DRPKit
internal import Foundation

struct ConfigCommands: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "config", abstract: "Check the fleet file.",
        discussion: """
            Examples:
              drp config check
            """,
        subcommands: [CheckFile.self])

    struct CheckFile: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "check", abstract: "Read the fleet file and tell all that is wrong with it.",
            discussion: """
                Examples:
                  drp config check
                  drp config check --fleet /etc/drp/fleet.yaml --json

                Nothing is connected to and no secret is read: that is `drp check`.
                """)

        @OptionGroup var common: CommonOptions

        func run() async throws {
            let path = try Composition.fleetFile(common.fleet)
            let (fleet, problems) = try FleetReader.read(path)
            try Output.answer(ConfigAnswer(path, fleet, problems), json: common.json)
            if problems.hasErrors { throw ExitStatus(.fleetInvalid) }
        }
    }
}

struct ConfigAnswer: Answer {
    var file: String
    var isValid: Bool
    var problems: [Problem]
    var sites: Int
    var clients: Int
    var inactive: [String]

    init(_ file: String, _ fleet: Fleet?, _ problems: [Problem]) {
        self.file = file
        self.problems = problems
        isValid = !problems.hasErrors
        sites = fleet?.sites.count ?? 0
        clients = fleet?.clients.count ?? 0
        inactive = fleet?.inactiveParts() ?? []
    }

    var text: String {
        var lines = problems.map { Text.safe($0.description) }
        if isValid {
            lines.append("\(file) is right: \(sites) sites, \(clients) clients")
            if !inactive.isEmpty {
                lines.append("read and checked, but not active in this version: \(inactive.joined(separator: ", "))")
            }
        } else {
            lines.append(
                "\(problems.count { $0.severity == .error }) errors; nothing else works before they are mended")
        }
        return lines.joined(separator: "\n")
    }
}
