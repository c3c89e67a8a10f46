internal import ArgumentParser
internal import DRPKit
internal import Foundation

struct ConfigCommands: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "config", abstract: "Check the fleet file, and show it to Ansible.",
        discussion: """
            Examples:
              drp config check
              drp config inventory
            """,
        subcommands: [CheckFile.self, Inventory.self])

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

    struct Inventory: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Print the sites' hosts as Ansible's inventory, without secrets.",
            discussion: """
                Examples:
                  drp config inventory
                  drp config inventory --site par-dc3
                  drp config inventory --host h1.par-dc3

                This is what ops/ansible/inventory asks. A host is called NAME.SITE; groups are site_NAME, docker_sites and
                reserve_sites. The answer is JSON in any case.
                """)

        @Flag(name: .long, help: "All hosts, with groups and variables; the default.")
        var list = false

        @Option(name: .long, help: ArgumentHelp("The variables of this host alone.", valueName: "name"))
        var host: String?

        @Option(name: .long, help: ArgumentHelp("Only the hosts of this site.", valueName: "site"))
        var site: SiteName?

        @OptionGroup var common: CommonOptions

        func run() async throws {
            let path = try Composition.fleetFile(common.fleet)
            let (read, problems) = try FleetReader.read(path)
            guard let fleet = read else { throw FleetError(reason: .invalid(problems), path: path) }
            if let site, fleet.site(site) == nil {
                throw UsageError("the fleet file has no site '\(site)'", advice: "Name one of its sites.")
            }
            let inventory = AnsibleInventory(fleet, only: site)
            guard let host else { return try Output.say(Output.encode(inventory.list)) }
            guard let variables = inventory.host(host) else {
                throw UsageError(
                    "there is no host '\(Text.safe(host))'",
                    advice: "Hosts are called NAME.SITE: `drp config inventory`.")
            }
            try Output.say(Output.encode(variables))
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
