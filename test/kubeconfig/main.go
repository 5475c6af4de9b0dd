// Command kubeconfig writes kubeconfigs into a folder, and what client-go makes of each: an error, or the server and
// the credentials of a request. It does the same with answers of exec plugins, and with kubercs. Tests of native/core
// compare their own results with them.
//
// script/test runs it in the Go module of test/cluster, which has the client-go of the test cluster.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/net/http/httpguts"
	_ "k8s.io/client-go/plugin/pkg/client/auth"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"
)

// Result is what a case leads to. Error is empty for a client that could be made.
type Result struct {
	Error       string              `json:"error"`
	Server      string              `json:"server"`
	Namespace   string              `json:"namespace"`
	Authority   []byte              `json:"authority"`
	Insecure    bool                `json:"insecure"`
	ServerName  string              `json:"server_name"`
	Proxy       string              `json:"proxy"`
	Compression bool                `json:"compression"`
	Certificate []byte              `json:"certificate"`
	Key         []byte              `json:"key"`
	Headers     map[string][]string `json:"headers"`
	// Of the plugin, where it would run.
	Exec *Exec `json:"exec"`
	// The settings of the auth provider, where it would be asked for a token.
	Oidc map[string]string `json:"oidc"`
}

// Exec is the call of a plugin.
type Exec struct {
	Command     string      `json:"command"`
	Arguments   []string    `json:"arguments"`
	Variables   [][2]string `json:"variables"`
	APIVersion  string      `json:"api_version"`
	Interactive string      `json:"interactive"`
	// What the plugin gets to know of the cluster.
	Cluster any `json:"cluster"`
}

// Written is a case in the output.
type Written struct {
	Name     string   `json:"name"`
	Files    []string `json:"files"`
	Context  string   `json:"context"`
	Expected Result   `json:"expected"`
}

func main() {
	if len(os.Args) != 2 {
		fail(errors.New("usage: kubeconfig DIR"))
	}
	klog.LogToStderr(false)
	klog.SetOutput(io.Discard)
	for _, variable := range []string{"KUBERNETES_SERVICE_HOST", "HTTPS_PROXY", "HTTP_PROXY", "https_proxy", "http_proxy"} {
		os.Unsetenv(variable)
	}
	var written []Written
	for index, each := range allCases() {
		files, err := write(filepath.Join(os.Args[1], fmt.Sprint(index)), each)
		if err != nil {
			fail(err)
		}
		result, err := resolve(files, each.context)
		if err != nil {
			result = Result{Error: err.Error()}
		}
		written = append(written, Written{each.name, files, each.context, result})
	}
	output, err := json.Marshal(written)
	if err == nil {
		err = os.WriteFile(filepath.Join(os.Args[1], "cases.json"), output, 0o600)
	}
	if err == nil {
		err = writePlugins(os.Args[1])
	}
	if err != nil {
		fail(err)
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "kubeconfig:", err)
	os.Exit(1)
}

// write writes the files of a case, and the files that their entries name. It returns the kubeconfigs.
func write(dir string, each testCase) ([]string, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	for name, text := range namedFiles {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			return nil, err
		}
	}
	var paths []string
	for index, text := range each.files {
		path := filepath.Join(dir, fmt.Sprintf("config-%d", index))
		paths = append(paths, path)
		if text == missing {
			continue
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			return nil, err
		}
	}
	return paths, nil
}

// resolve is what kubectl does before its first request.
func resolve(files []string, context string) (Result, error) {
	rules := &clientcmd.ClientConfigLoadingRules{Precedence: files}
	overrides := &clientcmd.ConfigOverrides{CurrentContext: context}
	loader := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, overrides)
	config, err := loader.ClientConfig()
	if err != nil {
		return Result{}, err
	}
	namespace, _, err := loader.Namespace()
	if err != nil {
		return Result{}, err
	}
	url, _, err := rest.DefaultServerUrlFor(config)
	if err != nil {
		return Result{}, err
	}
	if url.Scheme != "http" && url.Scheme != "https" || url.Host == "" {
		return Result{}, fmt.Errorf("net/http: unsupported protocol scheme %q or no host", url.Scheme)
	}
	if _, err := rest.TLSConfigFor(config); err != nil {
		return Result{}, err
	}
	if err := rest.LoadTLSFiles(config); err != nil {
		return Result{}, err
	}
	result := Result{
		Server:      url.Scheme + "://" + strings.TrimSuffix(url.Host, ":") + strings.TrimRight(url.EscapedPath(), "/"),
		Namespace:   namespace,
		Authority:   config.CAData,
		Insecure:    config.Insecure,
		ServerName:  config.ServerName,
		Compression: !config.DisableCompression,
		Certificate: config.CertData,
		Key:         config.KeyData,
	}
	if config.Proxy != nil {
		proxy, err := config.Proxy(&http.Request{URL: url})
		if err != nil {
			return Result{}, err
		}
		result.Proxy = proxy.String()
	}
	return result, login(config, url.String(), &result)
}

// login sends a request through client-go's wrappers. A plugin or a provider is not asked.
func login(config *rest.Config, url string, result *Result) error {
	transport, err := config.TransportConfig()
	if err != nil {
		return err
	}
	asked := transport.WrapTransport != nil
	transport.WrapTransport = nil
	exec, provider := config.ExecProvider, config.AuthProvider
	config.ExecProvider, config.AuthProvider = nil, nil
	recorder := &recorder{}
	wrapped, err := rest.HTTPWrappersForConfig(config, recorder)
	if err != nil {
		return err
	}
	client := http.Client{Transport: wrapped}
	response, err := client.Get(url)
	if err != nil {
		return err
	}
	response.Body.Close()
	result.Headers = map[string][]string{}
	for name, values := range recorder.header {
		if name == "Authorization" || strings.HasPrefix(name, "Impersonate-") {
			result.Headers[strings.ToLower(name)] = values
		}
		if slices.ContainsFunc(values, func(value string) bool { return !httpguts.ValidHeaderFieldValue(value) }) {
			return fmt.Errorf("net/http: invalid header field value for %q", name)
		}
	}
	if !asked || recorder.header.Get("Authorization") != "" {
		return nil
	}
	if provider != nil {
		result.Oidc = maps.Clone(provider.Config)
		return nil
	}
	config.ExecProvider = exec
	result.Exec = &Exec{
		Command:     exec.Command,
		Arguments:   exec.Args,
		APIVersion:  exec.APIVersion,
		Interactive: string(exec.InteractiveMode),
	}
	for _, variable := range exec.Env {
		result.Exec.Variables = append(result.Exec.Variables, [2]string{variable.Name, variable.Value})
	}
	if exec.ProvideClusterInfo {
		if result.Exec.Cluster, err = execCluster(config); err != nil {
			return err
		}
	}
	return nil
}

// recorder keeps the headers of the last request.
type recorder struct{ header http.Header }

func (r *recorder) RoundTrip(request *http.Request) (*http.Response, error) {
	r.header = request.Header.Clone()
	return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody, Request: request}, nil
}
