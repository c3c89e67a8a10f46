internal import DRPKit
internal import Foundation
internal import Glibc

/// Runs a playbook of the operator's own for the hosts of the run's target site, over drp's own connections where the site has a
/// bastion. It gets `drp_run`, `drp_client`, `drp_step`, `drp_mode`, `drp_site` and the inputs of the run as `drp_input_NAME`.
package struct AnsibleStep: Step {
    package static let kind = "ansible"
    package static let schema = [
        SettingSpec("playbook", .text, .required, about: "The playbook's absolute path."),
        SettingSpec("vars", .list, about: "Variables for it, each as `name=value`; not for secrets."),
        SettingSpec("vars-file", .text, about: "The absolute path of a file with more variables, secrets too."),
        SettingSpec(
            "check", .boolean,
            about:
                "Whether a dry run that would change nothing shows that the work is done; without it the journal does."),
    ]
    package static let rule = StepRule(deadline: .seconds(1800), retries: 0)
    /// The site's hosts carry production, too.
    package static let changesProduction = true
    private static let program = "ansible-playbook"

    let world: StepWorld

    package func plan(_ context: StepContext) async throws -> StepPlan {
        let (playbook, inventory) = (try playbook(context), try inventory(context))
        var lines = ["runs the playbook \(playbook) for \(inventory.hosts.joined(separator: ", "))"]
        if access(playbook, R_OK) != 0 { lines.append("not yet possible: there is no such playbook that drp can read") }
        return StepPlan(name: context.step, kind: Self.kind, lines: lines)
    }

    package func observe(_ context: StepContext) async throws -> Observation {
        guard context.settings.boolean("check") == true else { return seen(context) }
        let results = try await run(context, ["--check"])
        return results.changed == 0 ? .done(context.applied ?? Self.outcome(results)) : .notDone
    }

    package func apply(_ context: StepContext) async throws -> StepOutcome {
        let results = try await run(context, [])
        results.lines.forEach(context.progress)
        return Self.outcome(results)
    }

    package func undo(_ context: StepContext) async throws {}

    private static func outcome(_ results: AnsibleResults) -> StepOutcome {
        [
            "hosts": .object(
                results.hosts.mapValues { ["ok": .integer(Int64($0.ok)), "changed": .integer(Int64($0.changed))] })
        ]
    }

    // MARK: Running

    /// - Throws: `StepError` unless every host came to its end.
    private func run(_ context: StepContext, _ options: [String]) async throws -> AnsibleResults {
        let playbook = try playbook(context)
        let variables = try variables(context)
        let inventory = try inventory(context).file(try await connections(context))
        // Whatever the playbook gets stands in files of this account alone: everybody can read arguments.
        let mark = "\(context.run).\(context.step)"
        let files = try await OwnThread.run("ansible-files") {
            try AnsibleFiles(inventory: inventory, variables: variables, mark: mark)
        }
        defer { files.remove() }
        var arguments = [Self.program, "--inventory", files.inventory, "--extra-vars", "@\(files.variables)"]
        if let path = context.settings.text("vars-file") {
            guard path.hasPrefix("/") else { throw StepError(context, .settings, "'vars-file' is no absolute path") }
            arguments += ["--extra-vars", "@\(path)"]
        }
        let left = Duration.seconds(max(1, context.deadline.timeIntervalSince(world.clock.now)))
        let result = try await world.runner.run(
            arguments + options + ["--", playbook], additions: files.environment,
            // Where Ansible looks for its configuration.
            folder: (playbook as NSString).deletingLastPathComponent, deadline: left, outputLimit: 16 << 20)
        let results = files.results()
        guard result.status == .exited(0), results.isWhole else {
            throw StepError(context, .refused, Self.cause(results, result))
        }
        return results
    }

    private static func cause(_ results: AnsibleResults, _ result: CommandResult) -> String {
        if let reason = results.reason { return reason }
        if result.status == .exited(0) { return "its playbook has nothing to do at any host of the site" }
        let words = String(result.errorText.suffix(500)).trimmingCharacters(in: .whitespacesAndNewlines)
        return "\(program) ended with \(result.status): \(words)"
    }

    private func playbook(_ context: StepContext) throws -> String {
        let path = context.settings.text("playbook") ?? ""
        guard path.hasPrefix("/") else { throw StepError(context, .settings, "'playbook' is no absolute path") }
        return path
    }

    private func inventory(_ context: StepContext) throws -> AnsibleInventory {
        let site = try world.targetSite(context)
        guard !site.hosts.isEmpty else {
            throw StepError(context, .settings, "site \(site.name) has no hosts in the fleet file")
        }
        return AnsibleInventory(world.fleet, only: site.name)
    }

    /// Ansible goes over the connections that drp makes: it needs neither key nor certificate, and leaves nothing behind.
    private func connections(_ context: StepContext) async throws -> [String: [String: JSONValue]] {
        let site = try world.targetSite(context)
        guard let ssh = world.ssh, ssh.leads(to: site.name) else { return [:] }
        var changes: [String: [String: JSONValue]] = [:]
        for host in site.hosts {
            let (arguments, destination) = try await ssh.host(site.name, named: host.name).lend(to: Self.program)
            changes[AnsibleInventory.name(of: host.name, at: site.name)] = [
                "ansible_host": .text(destination), "ansible_ssh_args": .text(arguments.joined(separator: " ")),
                "ansible_port": .null, "ansible_user": .null, "ansible_ssh_common_args": .null,
            ]
        }
        return changes
    }

    private func variables(_ context: StepContext) throws -> JSONValue {
        var variables: [String: JSONValue] = [
            "drp_run": .text(context.run.text), "drp_client": .text(context.client.text),
            "drp_step": .text(context.step), "drp_mode": .text(context.mode.rawValue),
        ]
        for (name, value) in context.inputs {
            variables["drp_input_" + name.map { $0 == "-" ? "_" : String($0) }.joined()] = .text(value)
        }
        for text in context.settings.list("vars") ?? [] {
            guard let equals = text.firstIndex(of: "="), equals != text.startIndex else {
                throw StepError(context, .settings, "'\(text)' is not of the form name=value")
            }
            variables[String(text[..<equals])] = .text(String(text[text.index(after: equals)...]))
        }
        return .object(variables)
    }
}

/// The files of one run of Ansible, in a folder that nobody else can read.
private struct AnsibleFiles: Sendable {
    private static let markName = "DRP_ANSIBLE"

    private let folder: String
    private let mark: String

    /// Blocks; for a thread of its own. Ends what a drp that was killed left of the same step.
    /// - Parameter mark: of this step of this run.
    init(inventory: JSONValue, variables: JSONValue, mark: String) throws {
        self.mark = mark
        // By mkdtemp(3) it is of mode 0700 from its first moment on.
        var template = Array((FileManager.default.temporaryDirectory.path + "/drp-ansible-XXXXXX").utf8CString)
        guard mkdtemp(&template) != nil else {
            throw DeployError(.unusable, "the folder for temporary files", String(cString: strerror(errno)))
        }
        folder = String(decoding: template.dropLast().map(UInt8.init(bitPattern:)), as: UTF8.self)
        endProcesses()
        do {
            try PrivateFiles.makeFolder(plugins)
            try PrivateFiles.write(Array(AnsibleResults.plugin.utf8), to: "\(plugins)/\(AnsibleResults.pluginName).py")
            try PrivateFiles.write(json: inventory, to: self.inventory)
            try PrivateFiles.write(json: variables, to: self.variables)
        } catch {
            remove()
            throw error
        }
    }

    var inventory: String { "\(folder)/inventory.json" }
    var variables: String { "\(folder)/variables.json" }
    private var plugins: String { "\(folder)/plugins" }
    private var resultsFile: String { "\(folder)/results" }

    var environment: [String: String] {
        [
            Self.markName: mark, "DRP_RESULTS": resultsFile, "ANSIBLE_CALLBACK_PLUGINS": plugins,
            "ANSIBLE_CALLBACKS_ENABLED": AnsibleResults.pluginName, "ANSIBLE_RETRY_FILES_ENABLED": "false",
            "ANSIBLE_NOCOLOR": "true", "ANSIBLE_LOCAL_TEMP": folder, "ANSIBLE_PIPELINING": "true",
            // Ansible starts in no other encoding.
            "LC_ALL": "C.UTF-8",
        ]
    }

    /// Nothing of it if Ansible did not come that far.
    func results() -> AnsibleResults {
        let bytes = ProcessTable.contents(of: resultsFile, atMost: AnsibleResults.limit) ?? []
        return AnsibleResults(lines: String(decoding: bytes, as: UTF8.self))
    }

    /// Ansible's workers make sessions of their own, so that they outlive what ends `ansible-playbook`.
    private func endProcesses() { ProcessTable.killAll(withEnvironment: "\(Self.markName)=\(mark)") }

    func remove() {
        endProcesses()
        // What stays is in the folder for temporary files, and nobody else can read it.
        try? FileManager.default.removeItem(atPath: folder)
    }
}
