internal import ArgumentParser
internal import Backup
internal import DRPKit

/// After each run, what a new machine would need goes into every store.
extension Composition {
    var bundleShipper: BundleShipper {
        BundleShipper(
            fleetFile: fleetFile, journal: journal, clock: clock, resolver: resolver,
            program: DRP.configuration.version, open: Self.openStore)
    }

    /// Does the work of a command, then ships, however it ended. What the shipping could not do is said and changes
    /// nothing about the work; beside an error of the work's own it stands in the journal alone, and `drp check` tells.
    func shipping(_ body: () async throws -> Void) async throws {
        do { try await body() } catch {
            let report = await bundleShipper.ship()
            // Done in part is an answer, too.
            if error is ExitStatus { Self.tell(report) }
            throw error
        }
        Self.tell(await bundleShipper.ship())
    }

    private static func tell(_ report: BundleShipper.Report) {
        for line in lines(report) { Output.note(line) }
    }

    /// What a person should know of it; nothing if all went well.
    static func lines(_ report: BundleShipper.Report) -> [String] {
        let failures = report.problems.map { store, error in
            let fault = Fault(error)
            let place = store.map { "in store \($0)" } ?? "in any store"
            return "drp: no bootstrap bundle \(place): \(Text.safe(fault.text)) [\(fault.code.rawValue)]"
        }
        return failures + report.lacks.map { "drp: the bootstrap bundle lacks something: \(Text.safe($0))" }
    }
}

/// Ships for jobs that end at about the same time in one go.
actor BundleQueue {
    private let shipper: BundleShipper
    private var isWanted = false
    private var isShipping = false

    init(_ shipper: BundleShipper) { self.shipper = shipper }

    /// - Returns: what was done; empty if another job's call does it once more after what it does now.
    func ship() async -> [BundleShipper.Report] {
        isWanted = true
        guard !isShipping else { return [] }
        isShipping = true
        defer { isShipping = false }
        var reports: [BundleShipper.Report] = []
        while isWanted {
            isWanted = false
            reports.append(await shipper.ship())
        }
        return reports
    }
}
