import DRPKit
import Foundation
import Testing

@Suite("The command line", .serialized, .needsServices, .world())
struct CommandLineTests {
    @Test("the help of every command begins with examples")
    func helpBeginsWithExamples() async throws {
        let world = try DemoWorld.current
        var commands: [[String]] = [[]]
        var seen = 0
        while let command = commands.popLast() {
            seen += 1
            let help = try await world.drp(command + ["--help"])
            #expect(help.status == 0 && help.stderr.isEmpty, "\(command): \(help.stderr)")
            let blocks = help.stdout.split(separator: "\n\n", maxSplits: 2)
            let lines = (blocks.count > 1 ? blocks[1] : "").split(separator: "\n")
            #expect(lines.first == "Examples:", "\(command): \(help.stdout)")
            let prefix = "  drp" + command.map { " \($0)" }.joined()
            #expect(lines.count > 1 && lines[1].hasPrefix(prefix), "\(command): \(lines)")
            commands += Self.subcommands(help.stdout).map { command + [$0] }
        }
        #expect(seen >= 22, "commands are found by the help of their parents")
    }

    private static func subcommands(_ help: String) -> [String] {
        guard let section = help.components(separatedBy: "SUBCOMMANDS:\n").dropFirst().first else { return [] }
        return section.split(separator: "\n", omittingEmptySubsequences: false).prefix { $0.hasPrefix("  ") }.compactMap
        {
            let line = $0.dropFirst(2)
            return line.hasPrefix(" ") ? nil : line.split(separator: " ").first.map(String.init)
        }.filter { $0 != "help" }
    }

    @Test(
        "wrong use ends with 2, and says on stderr what is wrong",
        arguments: [
            "bakup run", "backup run", "backup run acme --all", "backup run acme --nope", "backup run ../acme",
            "backup run nobody", "backup show acme", "backup show acme/0", "backup show acme/x",
            "backup verify acme --read-data", "keys init", "keys init acme --identity new.key",
            "restore run acme --target t.yaml", "restore run acme --identity recovery-1.key",
            "restore run acme --target none.yaml --identity recovery-1.key",
            "restore run acme --target t.yaml --in-place --identity recovery-1.key",
            "restore run acme --target t.yaml --identity recovery-1.key --at yesterday",
            "migrate run --to south --identity recovery-1.key", "migrate run acme --to south",
            "migrate run acme --to south --identity none.key --confirm acme", "runs show nonsense",
            "serve --parallel 0", "prune run", "prune plan acme --all", "prune run acme --grace soon", "hold set acme",
            "hold set acme --reason ", "hold release acme", "hold release acme --confirm birch",
            "events verify --head abc", "events verify --head 0:abc", "events list --limit 0",
            "events list --run ../x", "catalog rebuild", "catalog rebuild acme --all", "catalog rebuild nobody",
            "backup verify --sample 5", "backup verify --sample 0%", "backup verify --sample 101%",
            "backup verify --sample -5%", "backup verify --sample x%", "backup verify --sample 0.00001%",
            "config check --fleet nowhere.yaml", "check --fleet nowhere.yaml", "runs resume",
        ])
    func wrongUse(line: String) async throws {
        let ended = try await DemoWorld.current.drp(line.split(separator: " ").map(String.init))
        #expect(ended.status == 2, "\(ended.status): \(ended.stdout)\(ended.stderr)")
        #expect(!ended.stderr.isEmpty && ended.stdout.isEmpty, "\(ended.stdout)")
    }

    @Test("the answer of every command is JSON on request, and so is an error")
    func answersAreJSON() async throws {
        let world = try DemoWorld.current
        let target = try await world.makeTarget("new")
        let identity = ["--identity", world.identity]
        let toSouth = ["acme", "--to", "south"] + identity
        let commands = [
            ["keys", "init", "--identity", "other.key"], ["keys", "init", "acme"], ["config", "check"], ["check"],
            ["backup", "run", "acme"], ["backup", "list"], ["backup", "show", "acme/latest"], ["backup", "verify"],
            ["backup", "verify", "--read-data"] + identity, ["restore", "plan", "acme", "--target", target] + identity,
            ["restore", "run", "acme", "--target", target] + identity, ["prune", "plan", "acme"],
            ["prune", "run", "acme"], ["hold", "set", "acme", "--reason", "audit"], ["hold", "show"],
            ["hold", "release", "acme", "--confirm", "acme"], ["migrate", "plan"] + toSouth,
            ["backup", "verify", "--sample", "5%"], ["catalog", "rebuild", "--all"], ["events", "list"],
            ["events", "verify"], ["migrate", "run"] + toSouth + ["--confirm", "acme"], ["runs", "list"],
        ]
        for command in commands {
            let ended = try await world.drp(command + ["--json"])
            #expect(ended.status == 0, "\(command): \(ended.stdout)\(ended.stderr)")
            // A run's last step writes to the log.
            #expect(ended.stderr.isEmpty || command[0] == "migrate", "\(command): \(ended.stderr)")
            let answer = try? JSONDecoder().decode([String: JSONValue].self, from: Data(ended.stdout.utf8))
            #expect(answer?.isEmpty == false, "\(command): \(ended.stdout)")
        }
        let run = try #require(try await world.sqlite("SELECT id FROM runs").first?[0])
        let show = try await world.drp("runs", "show", run, "--json")
        #expect(try JSONDecoder().decode([String: JSONValue].self, from: Data(show.stdout.utf8))["runs"] != nil)
        try await expectErrorAsJSON(["backup", "show", "acme/999"], 10, .repositoryMissing, naming: "acme")
        try await expectErrorAsJSON(["runs", "resume", run] + identity, 2, .usage, naming: run)
        try await expectErrorAsJSON(["check", "nobody"], 2, .usage, naming: "nobody")
    }

    private func expectErrorAsJSON(_ command: [String], _ status: Int32, _ code: ErrorCode, naming: String) async throws
    {
        let ended = try await DemoWorld.current.drp(command + ["--json"])
        #expect(ended.status == status && ended.stdout.isEmpty, "\(command): \(ended.stdout)")
        let saying = try JSONDecoder().decode(Saying.self, from: Data(ended.stderr.utf8))
        #expect(saying.error == code.rawValue && saying.message.contains(naming) && !saying.advice.isEmpty, "\(saying)")
    }
}
