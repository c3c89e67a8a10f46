internal import DRPKit
internal import Foundation

/// What a run of Ansible did, host by host, as the plugin of `AnsibleResults.plugin` writes it down.
struct AnsibleResults: Sendable, Hashable {
    struct Counts: Sendable, Hashable, Codable {
        var ok: Int
        var changed: Int
        /// Tasks that failed and were not rescued.
        var failures: Int
        var unreachable: Int
    }

    /// A task that failed at a host, or a host that could not be reached.
    struct Failure: Sendable, Hashable, Codable {
        var host: String
        var task: String
        var message: String
    }

    var hosts: [String: Counts] = [:]
    var failures: [Failure] = []

    /// Bytes of the plugin's file that are read; failures beyond it are in the counts alone.
    static let limit = 1 << 20
    private static let failuresShown = 3

    /// - Parameter text: A value of JSON a line. A line that is none is left out: the last one may be torn.
    init(lines text: String) {
        let decoder = JSONDecoder()
        for line in text.split(separator: "\n") {
            let data = Data(line.utf8)
            // A line is of one kind or of the other.
            if let failure = try? decoder.decode(Failure.self, from: data) {
                failures.append(failure)
            } else if let hosts = try? decoder.decode([String: Counts].self, from: data) {
                self.hosts = hosts
            }
        }
    }

    var isWhole: Bool { !hosts.isEmpty && hosts.values.allSatisfy { $0.failures == 0 && $0.unreachable == 0 } }
    var changed: Int { hosts.values.reduce(0) { $0 + $1.changed } }

    /// A line for each host, as people know it from Ansible.
    var lines: [String] {
        hosts.sorted { $0.key < $1.key }.map { host, counts in
            "\(host): ok \(counts.ok), changed \(counts.changed), failed \(counts.failures), unreachable \(counts.unreachable)"
        }
    }

    /// Which tasks failed where, and why; nil if none is known.
    var reason: String? {
        guard !failures.isEmpty else { return nil }
        var parts = failures.prefix(Self.failuresShown).map { failure in
            let message = failure.message.split(whereSeparator: \.isNewline).joined(separator: " ")
            return "\(failure.host): the task '\(failure.task)' failed: \(message)"
        }
        if failures.count > Self.failuresShown { parts.append("and \(failures.count - Self.failuresShown) more") }
        return parts.joined(separator: "; ")
    }

    /// Ansible's own callbacks print for people; this one writes for drp, into the file that `DRP_RESULTS` names. What Ansible
    /// hides (`no_log`) is hidden from it as well. Tried with ansible-core 2.19.
    static let pluginName = "drp_results"
    static let plugin = """
        import json, os
        from ansible.plugins.callback import CallbackBase

        DOCUMENTATION = '''
        name: drp_results
        type: notification
        short_description: writes what happened at each host for drp
        description: JSON, a line for each failure, and the counts at the end
        '''


        def message(result):
            if result.get("censored"):
                return str(result["censored"])
            for item in result.get("results") or []:
                if item.get("failed") or item.get("unreachable"):
                    return message(item)
            parts = [result.get("msg"), result.get("stderr") or result.get("module_stderr")]
            return " ".join(str(part).strip()[-400:] for part in parts if part)


        class CallbackModule(CallbackBase):
            CALLBACK_VERSION = 2.0
            CALLBACK_TYPE = "notification"
            CALLBACK_NAME = "drp_results"

            def write(self, value):
                with open(os.environ["DRP_RESULTS"], "a") as file:
                    file.write(json.dumps(value) + "\\n")

            def failure(self, result):
                self.write({"host": result._host.get_name(), "task": result._task.get_name(), "message": message(result._result)})

            def v2_runner_on_failed(self, result, ignore_errors=False):
                if not ignore_errors:
                    self.failure(result)

            def v2_runner_on_unreachable(self, result):
                self.failure(result)

            def v2_playbook_on_stats(self, stats):
                hosts = {}
                for host in sorted(stats.processed):
                    one = stats.summarize(host)
                    hosts[host] = {key: one[key] for key in ("ok", "changed", "failures", "unreachable")}
                self.write(hosts)

        """
}
