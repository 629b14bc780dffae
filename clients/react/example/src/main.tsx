import { QueryClient, QueryClientProvider } from "@tanstack/react-query";
import { UsherProvider } from "@usher/react";
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { App } from "./App.js";

const queryClient = new QueryClient();
const root = document.getElementById("root");
if (root === null) throw new Error("index.html has no #root");

createRoot(root).render(
  <StrictMode>
    <QueryClientProvider client={queryClient}>
      <UsherProvider baseUrl={import.meta.env.VITE_USHER_URL ?? "http://127.0.0.1:8000"}>
        <App />
      </UsherProvider>
    </QueryClientProvider>
  </StrictMode>,
);
