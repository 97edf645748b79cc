import java.io.OutputStream;
import org.codelibs.opensearch.runner.OpenSearchRunner;

/** One node of OpenSearch on loopback, with its data in a folder, until its standard input ends. */
public class Launch {
  public static void main(String[] args) throws Exception {
    OpenSearchRunner runner = new OpenSearchRunner();
    runner.onBuild((number, settings) -> {
      settings.put("network.host", "127.0.0.1");
      settings.put("http.port", args[1]);
      settings.put("transport.port", "0");
      settings.put("discovery.type", "single-node");
      settings.put("cluster.routing.allocation.disk.threshold_enabled", false);
    });
    runner.build(
        OpenSearchRunner.newConfigs()
            .basePath(args[0])
            .numOfNode(1)
            .pluginTypes("org.opensearch.knn.plugin.KNNPlugin"));
    System.in.transferTo(OutputStream.nullOutputStream());
    // At once: what it has acknowledged is on disk, and nobody waits for the rest.
    Runtime.getRuntime().halt(0);
  }
}
